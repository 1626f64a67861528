"""Why a value cannot travel, and the sentence that says so: where it is, what it is, and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

STEPS = 6  # of a path, in a message
SOMETHING_ELSE = "{give} an id, a str or a dict of its data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the value is, and the words that depend on it."""

    where: str  # args[0]['a'][3], argument 'user'['a'], return value[3]
    its: str = "its "  # or "user."
    sent: str = "sent"  # or "stored"
    give: str = "pass"  # or "return"
    awaited: str = "await it"  # or "declare the task `async def`"


class Refused(Exception):
    """Gathers the path to the value, innermost first, on the way up."""

    def __init__(self, sentence: str, **facts: object) -> None:
        """``sentence``: the words of a Place and these facts stand in it in braces."""
        super().__init__()
        self.sentence = sentence
        self.facts = facts
        self.path: list[Any] = []

    def told(self, at: Place) -> str:
        return self.sentence.format(**asdict(at), **self.facts)


class KeyRefused(Refused):
    """Of a dict's key: the place is the dict."""

    def told(self, at: Place) -> str:
        return super().told(replace(at, where=f"a key of {at.where}"))


class TooLarge(Refused):
    """Of the whole, not of one value."""

    def __init__(self, size: int, limit: int, *, exact: bool = True) -> None:
        unit, factor = ("MiB", 1 << 20) if limit >= 1 << 20 else ("KiB", 1 << 10)
        self.size, self.limit = f"{size / factor:.1f} {unit}", f"{limit / factor:.1f} {unit}"
        if self.size == self.limit:
            self.size, self.limit = f"{size:,} bytes", f"{limit:,} bytes"
        if not exact:
            self.size = f"at least {self.size}"
        super().__init__("{where} is {size}, the limit is {limit}", size=self.size, limit=self.limit)


def located(error: Exception, key: Any) -> Refused:
    """``error`` as a refusal that knows one more step of the path; most are refusals already."""
    if isinstance(error, KeyRefused) and not error.path:
        error.path.append(None)
        return error
    if isinstance(error, Refused):
        refused = error
    else:
        refused = Refused("{where} cannot be {sent}: reading it raised {error}", error=type(error).__name__)
        refused.__cause__ = error
    refused.path.append(key)
    return refused


def shows_all(step: int | str) -> bool:
    return False


def in_call(refused: Refused, names: Sequence[str], hides: Callable[[int | str], bool] = shows_all) -> str:
    """The sentence for one of the arguments; ``names`` are the parameters of the positional ones.

    ``hides``: is the value at this position or under this name a secret? Then nothing of what is within it is told.
    """
    path = [step for step in reversed(refused.path) if step is not None]
    if not path:
        return refused.told(Place(where="kwargs"))
    name = path[0] if isinstance(path[0], str) else names[path[0]] if path[0] < len(names) else ""
    where = f"argument {name!r}" if name else f"args[{path[0]}]"
    its = f"{name}." if name.isidentifier() and len(path) == 1 else "its "
    shown = next((end for end, step in enumerate(path) if not _is_index(step, end) and hides(step)), None)
    if shown is None:
        return refused.told(Place(where=where + _trail(path[1:]), its=its))
    refused.__cause__ = None  # its text may tell the value
    refused.facts |= {"key": "…"} if "key" in refused.facts else {}
    return refused.told(
        Place(where=where + _trail(path[1 : shown + 1]) + ("[…]" if path[shown + 1 :] else ""), its=its)
    )


def in_value(refused: Refused) -> str:
    """The sentence for a return value, which was item 0 of what was walked."""
    path = [step for step in reversed(refused.path) if step is not None]
    return refused.told(
        Place(
            where="return value" + _trail(path[1:]),
            sent="stored",
            give="return",
            awaited="declare the task `async def`",
        )
    )


def unfit(value: Any) -> Refused:
    """The refusal of a type that has no form in JSON."""
    try:
        kind: type = value.__class__  # of a SimpleLazyObject: of what it stands for
        name, (what, remedy) = kind.__qualname__, _remedy(value, kind)
    except Exception:  # whatever its __getattr__ does, the caller must be told the type
        name, what, remedy = type(value).__qualname__, "", SOMETHING_ELSE
    return Refused(f"{{where}} of type {{name}}{what} cannot be {{sent}}: {remedy}", name=name)


def _remedy(value: Any, kind: type) -> tuple[str, str]:
    # By the class wherever possible, because an object like a Mock has every attribute.
    if hasattr(kind, "_meta") and hasattr(kind, "pk"):
        return " (a model instance)", "{give} {its}pk and load it in the task"
    if hasattr(kind, "query") and hasattr(value, "model"):
        return " (a QuerySet)", "{give} a list of primary keys and query again in the task"
    if kind.__name__ in ("coroutine", "async_generator"):
        return "", "{awaited}"
    if kind.__name__ == "generator":
        return "", "{give} a list"
    if hasattr(kind, "getlist"):
        return " (it can have a key twice)", "{give} {its}dict()"
    if hasattr(kind, "_asdict"):
        return " (a named tuple)", "{give} tuple(…) of it, or a dataclass"
    if hasattr(kind, "read"):
        return "", "{give} its name or its content"
    return "", SOMETHING_ELSE


def _is_index(step: int | str, depth: int) -> bool:
    return depth > 0 and isinstance(step, int)


def _trail(path: Sequence[Any]) -> str:
    shown = "".join(f"[{brief(step)}]" for step in path[:STEPS])
    return shown + ("…" if len(path) > STEPS else "")


def brief(key: Any) -> str:
    """A key as a message may show it: one short line, whatever its ``__repr__`` does."""
    try:
        return (repr(key[:40]) if isinstance(key, str) else repr(key))[:60]
    except Exception:
        return f"<{type(key).__name__}>"

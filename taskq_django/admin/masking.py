"""Stored arguments and return values for people to read: plain JSON values, the secrets masked.

Nothing is rebuilt into objects of the project. What is secret, the task's code says, and the job itself, which tells
what its task called sensitive when it was enqueued: both count. Where neither can be asked, all is secret; and so is
an argument that is of no parameter which either of them has: its name may have been a secret's before a deploy.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from ..codec.tags import TAG, from_json
from ..conf import is_redacted
from ..jobs import SENSITIVE, headers_of
from ..registry import registry
from ..tasks import spelled_parameters

MASK = "••••"
DEEPEST = 50  # the codec writes no deeper than 20; a text by another hand must not end in a RecursionError

_WORD = re.compile(r"\S+")
# Where the last word of a scheme begins. From the first one on, a text of many dots would be walked from each of them.
_URL = re.compile(r"(?=\b\w+[+.-]*://)")
_PARAMETER = re.compile(r"(?<=[?&;])([^\s=&;?]+)=[^\s&;#]+")

Call = tuple[list[tuple[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Secrets:
    """What is known of the secrets of a call, by one of those who know."""

    sensitive: frozenset[str]
    order: tuple[str, ...]  # the parameters that positional arguments fill
    rest: str  # the name of *args, or ""
    others: str  # the name of **kwargs, or ""
    named: frozenset[str]  # every parameter with a name of its own

    def at(self, position: int) -> str:
        """The parameter that takes this positional argument; "" for none."""
        return self.order[position] if position < len(self.order) else self.rest

    def taker(self, name: str) -> str:
        """The one that takes this keyword."""
        return name if name in self.named else self.others


def masked_call(args: Sequence[Any], kwargs: Mapping[str, Any], task_path: str, headers: str) -> Call | None:
    """Positional arguments with the names of their parameters (or their number), and keyword arguments.

    None: nobody knows what of it is secret. ``headers``: of the job.
    """
    known = who_know(task_path, headers)
    if not known:
        return None
    sensitive = frozenset().union(*(each.sensitive for each in known))
    positional = []
    for position, value in enumerate(args):
        takers = [taker for each in known if (taker := each.at(position))]
        label = next((each.order[position] for each in known if position < len(each.order)), str(position))
        positional.append((label, _unless_secret(value, sensitive, *takers) if takers else MASK))
    keywords = {}
    for name, value in kwargs.items():
        takers = [taker for each in known if (taker := each.taker(name))]
        keywords[name] = _unless_secret(value, sensitive, name, *takers) if takers else MASK
    return positional, keywords


def who_know(task_path: str, headers: str) -> list[Secrets]:
    """What the code and the job say is secret of it, each if it can be asked."""
    if headers_of(headers) is None:
        return []
    return [each for each in (_told_by(headers), _known_of(task_path)) if each is not None]


def masked(value: Any, depth: int = 0) -> Any:
    """The same with the values of secret keys masked, at any depth, and the codec's tags read for people."""
    if depth > DEEPEST:
        return "…"
    if isinstance(value, list):
        return [masked(item, depth + 1) for item in value]
    if isinstance(value, str):
        return without_passwords(value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {TAG, "v"} and isinstance(value[TAG], str):
        return _untagged(value, depth)
    return _masked_items(value, depth)


def _masked_items(value: dict[str, Any], depth: int) -> dict[str, Any]:
    return {key: MASK if is_secret(key, frozenset()) else masked(item, depth + 1) for key, item in value.items()}


def _untagged(value: dict[str, Any], depth: int) -> Any:
    kind, stored = value[TAG], value["v"]
    if kind == "dict" and isinstance(stored, dict):  # its own "$t" is no tag
        return _masked_items(stored, depth)
    if kind in {"dict", "tuple", "set", "frozenset"}:
        return masked(stored, depth + 1)
    if isinstance(stored, dict):
        return {kind: _masked_items(stored, depth)}
    try:
        return _as_json(from_json(value))
    except Exception:  # a kind or a text that no codec wrote
        return {kind: masked(stored, depth + 1)}


def _as_json(value: Any) -> Any:
    """As Django's own encoder writes it: a datetime in ISO 8601; bytes are base64."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return json.loads(json.dumps(value, cls=_Encoder))


class _Encoder(DjangoJSONEncoder):
    """To the last digit: Django's cuts a time after its milliseconds."""

    def default(self, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date | time) else super().default(value)


def _unless_secret(value: Any, sensitive: frozenset[str], *names: str) -> Any:
    return MASK if any(is_secret(name, sensitive) for name in names) else masked(value)


def is_secret(name: str, sensitive: frozenset[str]) -> bool:
    """Is the value of an argument of this name to be masked?"""
    return name in sensitive or is_redacted(name)


def without_passwords(text: str) -> str:
    """With the passwords of the URLs in it masked: before an @, and by their names after a ?."""
    if "://" not in text:
        return text
    text = _WORD.sub(lambda word: _without_logins(word[0]), text)
    return _PARAMETER.sub(lambda found: f"{found[1]}={MASK}" if is_redacted(found[1]) else found[0], text)


def _without_logins(word: str) -> str:
    """Of the first URL in it; or of each, because JSON may hold several in a word."""
    masked = _without_login(word)
    return masked if masked != word else "".join(map(_without_login, _URL.split(word)))


def _without_login(word: str) -> str:
    """Up to the last @, because a password may hold any sign that should have been encoded."""
    scheme, _, rest = word.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    if not at or "/" in user:  # no login, but a part of a path
        return word
    return f"{scheme}://{user + colon if colon else ''}{MASK}@{place}"


def holds_secret(value: Any, sensitive: frozenset[str], depth: int = 0) -> bool:
    """Would ``masked`` mask a part of this stored value?"""
    if depth > DEEPEST:
        return True
    if isinstance(value, str):
        return without_passwords(value) != value
    if isinstance(value, list):
        return any(holds_secret(item, sensitive, depth + 1) for item in value)
    if not isinstance(value, dict):
        return False
    return any(is_secret(key, sensitive) or holds_secret(item, sensitive, depth + 1) for key, item in value.items())


def _known_of(task_path: str) -> Secrets | None:
    """By the code, if this process has it."""
    task = registry.seek(task_path)
    if task is None:
        return None
    return _secrets(task.sensitive, spelled_parameters(task.func, task.takes_context))


def _told_by(headers: str) -> Secrets | None:
    """By the job. None: it tells nothing, or nothing that can be read."""
    match (headers_of(headers) or {}).get(SENSITIVE):
        case {"names": list() as names, "parameters": list() as spelled} if _are_texts(names) and _are_texts(spelled):
            return _secrets(names, spelled)
        case _:
            return None


def _secrets(sensitive: Sequence[str], spelled: Sequence[str]) -> Secrets:
    """``spelled``: the parameters as ``def`` has them: ``["user", "*", "pin", "**more"]``."""
    stars = [each for each in spelled if each.startswith("*") and not each.startswith("**")]
    end = spelled.index(stars[0]) if stars else len(spelled)
    return Secrets(
        sensitive=frozenset(sensitive),
        order=tuple(_names(spelled[:end])),
        rest=stars[0][1:] if stars else "",
        others=next((each[2:] for each in spelled if each.startswith("**")), ""),
        named=frozenset(_names(spelled)),
    )


def _names(spelled: Sequence[str]) -> Iterator[str]:
    return (each for each in spelled if not each.startswith("*"))


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(each, str) for each in values)

"""Stored arguments and return values for people to read: plain JSON values, the secrets masked.

Nothing is rebuilt into objects of the project, and no task is imported to be asked for its names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import Any

from ..conf import taskq_settings
from ..registry import registry
from ..tasks import parameters_of
from ..values import TAG, from_json

MASK = "••••"
DEEPEST = 50  # the codec writes no deeper than 20; a text by another hand must not end in a RecursionError

Call = tuple[list[tuple[str, Any]], dict[str, Any]]


def masked_call(args: Sequence[Any], kwargs: Mapping[str, Any], task_path: str) -> Call:
    """Positional arguments with the names of their parameters (or their number), and keyword arguments."""
    task = registry.get(task_path)
    sensitive = frozenset(getattr(task, "sensitive", ()))
    names: tuple[str, ...] = ()
    known: Mapping[str, Parameter] = {}
    if task is not None:
        signature, names, *_ = parameters_of(task.func, task.takes_context)
        known = signature.parameters
    rest = _starred(known, Parameter.VAR_POSITIONAL)
    others = _starred(known, Parameter.VAR_KEYWORD)

    positional = []
    for position, value in enumerate(args):
        parameter = names[position] if position < len(names) else rest
        label = parameter if position < len(names) else str(position)
        positional.append((label, _unless_secret(value, sensitive, parameter)))
    keywords = {
        name: _unless_secret(value, sensitive, name, "" if name in known else others) for name, value in kwargs.items()
    }
    return positional, keywords


def masked(value: Any, depth: int = 0) -> Any:
    """The same with the values of secret keys masked, at any depth, and the codec's tags read for people."""
    if depth > DEEPEST:
        return "…"
    if isinstance(value, list):
        return [masked(item, depth + 1) for item in value]
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
        return f"{kind} {from_json(value)}"
    except Exception:  # a kind or a text that no codec wrote
        return {kind: masked(stored, depth + 1)}


def _unless_secret(value: Any, sensitive: frozenset[str], *names: str) -> Any:
    return MASK if any(is_secret(name, sensitive) for name in names) else masked(value)


def is_secret(name: str, sensitive: frozenset[str]) -> bool:
    """Is the value of an argument of this name to be masked?"""
    lower = name.lower()
    return name in sensitive or any(word.lower() in lower for word in taskq_settings().admin.redact)


def holds_secret(value: Any, sensitive: frozenset[str] = frozenset(), depth: int = 0) -> bool:
    """Would ``masked`` mask a part of this stored value?"""
    if depth > DEEPEST:
        return True
    if isinstance(value, list):
        return any(holds_secret(item, sensitive, depth + 1) for item in value)
    if not isinstance(value, dict):
        return False
    return any(is_secret(key, sensitive) or holds_secret(item, sensitive, depth + 1) for key, item in value.items())


def _starred(known: Mapping[str, Parameter], kind: object) -> str:
    return next((parameter.name for parameter in known.values() if parameter.kind is kind), "")

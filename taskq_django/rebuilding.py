"""Rebuilds Enums and dataclasses from a parameter's annotation: from our code, never from a name in a message."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any, Union, get_args, get_origin, get_type_hints

from .exceptions import PayloadError

Rebuild = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Rebuilders:
    """Of one function: by parameter, and in the order in which positional arguments fill them."""

    by_name: dict[str, Rebuild]
    order: tuple[str, ...]

    def rebuild(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Raises PayloadError naming the parameter whose value fits its annotation no more."""
        names = [*self.order, *[""] * (len(args) - len(self.order))]
        return (
            [self._one(name, value) for name, value in zip(names, args, strict=False)],
            {name: self._one(name, value) for name, value in kwargs.items()},
        )

    def _one(self, name: str, value: Any) -> Any:
        rebuild = self.by_name.get(name)
        if rebuild is None:
            return value
        try:
            return rebuild(value)
        except (ValueError, TypeError, KeyError) as error:
            raise PayloadError(f"Stored argument {name!r} does not fit its annotation: {error}.") from error


@lru_cache(maxsize=4096)
def rebuilders_of(function: Callable[..., Any]) -> Rebuilders | None:
    """None where no parameter needs it, or the annotations cannot be resolved (the values then stay plain)."""
    try:
        hints = get_type_hints(function)
        parameters = signature(function).parameters.values()
    except Exception:  # a forward reference that exists for type checkers only
        return None
    positional = [p.name for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    if positional[:1] == ["context"]:  # filled by the worker, not by the message
        positional = positional[1:]
    found = {p.name: rebuild for p in parameters if (rebuild := _rebuild(hints.get(p.name)))}
    return Rebuilders(found, tuple(positional)) if found else None


def _rebuild(hint: Any) -> Rebuild | None:
    """How to turn the plain value into what ``hint`` says; None where it is that already."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        # What is equal to a member's value but was never sent as one stays what it is only by accident: always rebuild.
        return hint
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: _dataclass(hint, value)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        return _optional(_rebuild(kinds[0])) if len(kinds) == 1 else None
    if origin in (list, tuple, set, frozenset) and inner:
        return _each(_rebuild(inner[0]))
    if origin is dict and len(inner) == 2:
        return _each_value(_rebuild(inner[1]))
    return None


def _optional(rebuild: Rebuild | None) -> Rebuild | None:
    return rebuild and (lambda value: None if value is None else rebuild(value))


def _each(rebuild: Rebuild | None) -> Rebuild | None:
    return rebuild and (lambda values: type(values)(rebuild(item) for item in values))


def _each_value(rebuild: Rebuild | None) -> Rebuild | None:
    return rebuild and (lambda values: {key: rebuild(item) for key, item in values.items()})


def _dataclass(kind: Any, value: Any) -> Any:
    hints = get_type_hints(kind)
    given = dict(value)
    made = {}
    for field in fields(kind):
        if field.init and field.name in given:
            rebuild = _rebuild(hints.get(field.name))
            item = given.pop(field.name)
            made[field.name] = rebuild(item) if rebuild else item
    unknown = given.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"{kind.__qualname__} has no field {min(unknown)!r}")
    return kind(**made)

"""Rebuilds Enums and dataclasses from the annotation of a parameter, never from a name in a message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from inspect import Parameter, signature, unwrap
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..exceptions import PayloadError

Rebuild = Callable[[Any], Any]
_COLLECTIONS = (list, set, frozenset, Sequence, MutableSequence, Collection, Iterable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilders:
    """Of one function. None: the value stays as it came."""

    order: tuple[tuple[str, Rebuild | None], ...]  # the positional parameters
    by_name: Mapping[str, Rebuild | None]
    more: Rebuild | None  # of *args
    others: Rebuild | None  # of **kwargs

    def rebuild(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Raises PayloadError naming the argument that does not fit its annotation."""
        order = (*self.order, *[("*", self.more)] * (len(args) - len(self.order)))
        find, others = self.by_name.get, self.others
        return (
            [_rebuilt(name, value, rebuild) for value, (name, rebuild) in zip(args, order, strict=False)],
            {name: _rebuilt(name, value, find(name, others)) for name, value in kwargs.items()},
        )


class Misfit(ValueError):
    """Its text tells no value."""


def _rebuilt(name: str, value: Any, rebuild: Rebuild | None) -> Any:
    if rebuild is None:
        return value
    try:
        return rebuild(value)
    except Exception as error:  # an Enum's _missing_ and a dataclass's __post_init__ run here
        why = str(error) if isinstance(error, Misfit) else type(error).__name__
        raise PayloadError(f"The stored argument {name!r} does not fit its annotation ({why}).") from error


@lru_cache(maxsize=4096)
def rebuilders_of(function: Callable[..., Any], takes_context: bool = False) -> Rebuilders | None:
    """None where no parameter needs one. ``takes_context``: the worker fills the first one, not the message."""
    try:
        parameters = list(signature(function).parameters.values())
        hints = hints_of(function)
    except (TypeError, ValueError):  # no function of Python
        return None
    if parameters and takes_context:
        del parameters[0]
    of = {each.name: _rebuild(hints.get(each.name)) for each in parameters}
    if not any(of.values()):
        return None
    kinds = {each.name: each.kind for each in parameters}
    ordered = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return Rebuilders(
        order=tuple((name, of[name]) for name, kind in kinds.items() if kind in ordered),
        by_name={name: of[name] for name, kind in kinds.items() if kind in named},
        more=next((of[name] for name, kind in kinds.items() if kind is Parameter.VAR_POSITIONAL), None),
        others=next((of[name] for name, kind in kinds.items() if kind is Parameter.VAR_KEYWORD), None),
    )


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of its parameters, as far as they can be resolved. Raises what ``signature`` does."""
    raw = {name: parameter.annotation for name, parameter in signature(function).parameters.items()}
    return _hints(function, raw, getattr(unwrap(function), "__globals__", {}))


def _hints(owner: Any, raw: Mapping[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """Those that can be resolved: one that exists for type checkers only must not cost the others."""
    try:
        return get_type_hints(owner)
    except Exception:  # annotations are code
        found: dict[str, Any] = {}
    for name, annotation in raw.items():
        try:
            found |= get_type_hints(SimpleNamespace(__annotations__={name: annotation}), names)
        except Exception:  # noqa: S112
            continue
    return found


def _rebuild(hint: Any) -> Rebuild | None:
    """How to make of the plain value what ``hint`` says; None where it is that already.

    None is let through everywhere: a function may be called with it whatever its annotation says.
    """
    if isinstance(hint, type) and issubclass(hint, Enum) and hint.__members__:
        stays = not any(member.value is None for member in hint)
        return lambda value: None if value is None and stays else hint(value)
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: None if value is None else _dataclass(hint, value)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        kinds = [kind for kind in inner if kind is not NoneType]
        return _rebuild(kinds[0]) if len(kinds) == 1 else None  # of two, the message does not say which
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        return _in_order([_rebuild(each) for each in inner])
    if origin is tuple or origin in _COLLECTIONS:
        return _each(_rebuild(inner[0]))
    if origin in (dict, Mapping):
        return _each_pair(_rebuild(inner[0]), _rebuild(inner[1]))
    return None


def _in_order(rebuilds: Sequence[Rebuild | None]) -> Rebuild | None:
    def rebuild(values: Any) -> Any:
        if type(values) not in (list, tuple) or len(values) != len(rebuilds):
            return values
        pairs = zip(rebuilds, values, strict=True)
        return type(values)(item if each is None else each(item) for each, item in pairs)

    return rebuild if any(rebuilds) else None


def _each(rebuild: Rebuild | None) -> Rebuild | None:
    if rebuild is None:
        return None
    kinds = (list, tuple, set, frozenset)
    return lambda values: type(values)(map(rebuild, values)) if type(values) in kinds else values


def _each_pair(of_key: Rebuild | None, of_item: Rebuild | None) -> Rebuild | None:
    def rebuild(pairs: Any) -> Any:
        if type(pairs) is not dict:
            return pairs
        return {
            key if of_key is None else of_key(key): item if of_item is None else of_item(item)
            for key, item in pairs.items()
        }

    return rebuild if of_key or of_item else None


def _dataclass(kind: Any, value: Any) -> Any:
    if type(value) is not dict:
        raise Misfit(f"{kind.__qualname__} needs a dict, not {type(value).__name__}")
    rebuilds = _fields_of(kind)
    if unknown := value.keys() - {field.name for field in fields(kind)}:
        raise Misfit(f"{kind.__qualname__} has no field {min(unknown)!r}")
    given = [(name, value[name], rebuild) for name, rebuild in rebuilds.items() if name in value]
    return kind(**{name: item if rebuild is None else rebuild(item) for name, item, rebuild in given})


@lru_cache(maxsize=4096)
def _fields_of(kind: Any) -> dict[str, Rebuild | None]:
    """Of the fields that ``__init__`` takes; the others it makes itself. Late: a class may hold its own."""
    raw = {field.name: field.type for field in fields(kind)}
    hints = _hints(kind, raw, vars(sys.modules[kind.__module__]))
    return {field.name: _rebuild(hints.get(field.name)) for field in fields(kind) if field.init}

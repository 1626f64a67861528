"""Rebuilds Enums and dataclasses from the annotation of a parameter, never from a name in a message.

What would not come back equal is refused where it is enqueued: the same is made there, and compared.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from inspect import Parameter, signature, unwrap
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, NewType, Union, get_args, get_origin, get_type_hints, is_typeddict

from ..exceptions import PayloadError
from .refusal import Refused, located
from .tags import PLAIN

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
        order, find, others = self._order(len(args)), self.by_name.get, self.others
        return (
            [_rebuilt(name, value, rebuild) for value, (name, rebuild) in zip(args, order, strict=False)],
            {name: _rebuilt(name, value, find(name, others)) for name, value in kwargs.items()},
        )

    def check(self, given: tuple[Sequence[Any], Mapping[str, Any]], read: tuple[list[Any], dict[str, Any]]) -> None:
        """Refuse what would come back as something else. ``read``: what is read of the text of ``given``."""
        (args, kwargs), (read_args, read_kwargs) = given, read
        for position, (_, rebuild) in enumerate(self._order(len(args))[: len(args)]):
            _check(position, args[position], read_args[position], rebuild)
        for name, value in kwargs.items():
            _check(name, value, read_kwargs[name], self.by_name.get(name, self.others))

    def _order(self, count: int) -> tuple[tuple[str, Rebuild | None], ...]:
        return (*self.order, *[("*", self.more)] * (count - len(self.order)))


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


def _check(key: int | str, given: Any, read: Any, rebuild: Rebuild | None) -> None:
    if rebuild is None:
        return
    try:
        back = rebuild(read)
    except Exception as error:
        why = str(error) if isinstance(error, Misfit) else type(error).__name__
        text = "{where} cannot be made again by its annotation ({why}): {give} what fits it, or make it in the task"
        raise located(Refused(text, why=why), key) from error
    try:
        lost = _lost(given, back)
    except Exception as error:  # an __eq__ may raise anything
        refused = located(error, key)
        raise refused from refused.__cause__
    if lost is not None:
        raise located(lost, key)


def _lost(given: Any, back: Any) -> Refused | None:
    """Why an Enum or a dataclass within ``given`` is not what comes back in its place; None where each is.

    Whoever gives a dict for a dataclass, or a value for an Enum, wants what is made of it.
    """
    if is_dataclass(given) and not isinstance(given, type):
        return None if type(back) is type(given) and _are_equal(given, back) else _would_arrive(given, back)
    if isinstance(given, Enum):
        return None if back == given else _would_arrive(given, back)
    if isinstance(given, Mapping) and isinstance(back, Mapping):
        pairs = zip(
            (each for item in given.items() for each in item),
            (each for item in back.items() for each in item),
            strict=True,
        )
    elif isinstance(given, (list, tuple)) and isinstance(back, (list, tuple)):
        pairs = zip(given, back, strict=True)
    elif isinstance(given, (set, frozenset)) and given != back:
        return next((_would_arrive(each, each.value) for each in given if isinstance(each, Enum)), None)
    else:
        return None
    return next((lost for lost in itertools.starmap(_lost, pairs) if lost is not None), None)


def _are_equal(given: Any, back: Any) -> bool:
    """Also where one of them, or one within them, is declared with ``eq=False``."""
    if type(given) is not type(back) or not is_dataclass(given) or isinstance(given, type):
        return bool(given == back)
    is_compared = type(given).__eq__ is not object.__eq__
    if is_compared and given == back:
        return True
    names = [field.name for field in fields(given) if field.compare or not is_compared]
    return all(_are_equal(getattr(given, name), getattr(back, name)) for name in names)


def _would_arrive(given: Any, back: Any) -> Refused:
    kind, arrives = type(given).__qualname__, type(back).__qualname__
    if kind == arrives:
        remedy = "what is made again from its fields differs: {give} these, and make it in the task"
        return Refused(f"{{where}} holds a {{kind}} that would not arrive equal, because {remedy}", kind=kind)
    remedy = "annotate the parameter with this class alone, or {give} its value or its fields"
    return Refused(f"{{where}} holds a {{kind}} that would arrive as {{arrives}}: {remedy}", kind=kind, arrives=arrives)


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
    if isinstance(hint, NewType):
        return _rebuild(hint.__supertype__)
    if type(hint).__name__ == "TypeAliasType":  # type Name = …; from Python 3.12 on
        return lambda value: _of_alias(hint)(value)
    origin, inner = get_origin(hint), get_args(hint)
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Enum) and kind.__members__:
        stays = not any(member.value is None for member in kind)
        return lambda value: None if value is None and stays else kind(value)
    if isinstance(kind, type) and is_dataclass(kind):
        return lambda value: None if value is None else _dataclass(kind, value)
    if origin in (Union, UnionType):
        return _either([each for each in inner if each is not NoneType])
    if origin is Literal:
        return _either(list(dict.fromkeys(type(each) for each in inner if each is not None)))
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        return _in_order([_rebuild(each) for each in inner])
    if not inner:  # List and Dict of typing say no more than list and dict
        return _as_it_is if isinstance(kind, type) and not _forms(kind) else None
    if origin is tuple or origin in _COLLECTIONS:
        return _each(_rebuild(inner[0]))
    if origin in (dict, Mapping):
        return _each_pair(_rebuild(inner[0]), _rebuild(inner[1]))
    return None


def _as_it_is(value: Any) -> Any:
    """Of a class that nothing here can make, a Protocol or a base class: what comes must be one already."""
    return value


@lru_cache(maxsize=4096)
def _of_alias(alias: Any) -> Rebuild:
    """Late: it may hold its own name."""
    try:
        return _rebuild(alias.__value__) or _as_it_is
    except Exception:  # annotations are code
        return _as_it_is


def _either(kinds: Sequence[Any]) -> Rebuild | None:
    """By the first kind that fits. One whose plain form may be another kind's value is not made: who could tell?"""
    rebuilds = {position: found for position, kind in enumerate(kinds) if (found := _rebuild(kind))}
    if len(kinds) == 1 or not rebuilds:
        return rebuilds.get(0)
    stay = [_forms(kind) for position, kind in enumerate(kinds) if position not in rebuilds]
    taken = frozenset[type]().union(*stay, [dict] if any(map(is_typeddict, kinds)) else [])
    choices = [(forms, found) for position, found in rebuilds.items() if not (forms := _forms(kinds[position])) & taken]

    def rebuild(value: Any) -> Any:
        for forms, found in choices:
            if type(value) in forms:
                with suppress(Exception):
                    return found(value)
        return value

    return rebuild


def _forms(kind: Any) -> frozenset[type]:
    """The plain types that a value of this kind may travel as."""
    kind = get_origin(kind) or kind
    if isinstance(kind, type) and issubclass(kind, Enum):
        return frozenset(type(member.value) for member in kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return frozenset([dict])
    if kind is float:
        return frozenset([float, int])  # as type checkers have it
    try:
        return frozenset(each for each in PLAIN if kind is Any or issubclass(each, kind))
    except TypeError:  # a TypedDict, a Protocol, or no class
        return frozenset()


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
    if value.keys() - {field.name for field in fields(kind)}:
        known = ", ".join(field.name for field in fields(kind))
        raise Misfit(f"{kind.__qualname__} has the fields {known}, and no other")  # a name may be a secret
    given = [(name, value[name], rebuild) for name, rebuild in rebuilds.items() if name in value]
    return kind(**{name: item if rebuild is None else rebuild(item) for name, item, rebuild in given})


@lru_cache(maxsize=4096)
def _fields_of(kind: Any) -> dict[str, Rebuild | None]:
    """Of the fields that ``__init__`` takes; the others it makes itself. Late: a class may hold its own."""
    raw = {field.name: field.type for field in fields(kind)}
    hints = _hints(kind, raw, vars(sys.modules[kind.__module__]))
    return {field.name: _rebuild(hints.get(field.name)) for field in fields(kind) if field.init}

"""The arguments of a task as they are typed on a command line: ``3 name=Ann day=2030-12-24``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from inspect import Parameter
from itertools import chain, repeat
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin
from uuid import UUID

from django.core.management.base import CommandError
from django.utils.dateparse import parse_duration

from .. import codec
from ..codec.rebuilding import hints_of
from ..exceptions import PayloadError, one_line
from ..tasks import Task, parameters_of

# What a parameter may ask for, and JSON has no word for, or another one.
READERS: dict[Any, Callable[[str], Any]] = {
    bool: {"True": True, "False": False}.__getitem__,
    int: int,
    float: float,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    timedelta: parse_duration,
    Decimal: Decimal,
    UUID: UUID,
}
BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def read_call(task: Task[..., Any], typed: Iterable[str]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments, as the task gets them. Raises CommandError naming the parameter.

    ``NAME=VALUE`` is by name, any other is by its position. A value is what its parameter says, else JSON, else text.
    """
    known, names, *_ = parameters_of(task.func, task.takes_context)
    parameters = known.parameters
    hints = hints_of(task.func)
    star = next((each.name for each in parameters.values() if each.kind is Parameter.VAR_POSITIONAL), "")
    others = next((each.name for each in parameters.values() if each.kind is Parameter.VAR_KEYWORD), "")
    order = chain((name for name, each in parameters.items() if each.kind in BY_POSITION), repeat(star))
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for text in typed:
        name, is_named, value = text.partition("=")
        if not (is_named and name.isidentifier()):
            name = next(order)
            args.append(_value(text, hints.get(name), name))
        elif name in kwargs:
            raise CommandError(f"{name} is given twice.")
        else:
            kwargs[name] = _value(value, hints.get(name if name in parameters else others), name)
    function = task.func if task.native else None
    try:
        # Enums and dataclasses are made as a worker makes them.
        stored = codec.encode_call(args, kwargs, names=names, plain=not task.native)
        return codec.decode_call(stored, function, takes_context=task.takes_context)
    except (PayloadError, TypeError, ValueError) as error:
        raise CommandError(one_line(error)) from error


def _value(text: str, hint: Any, name: str) -> Any:
    kinds = [get_origin(kind) or kind for kind in _members(hint)]
    if kinds == [str]:
        return text
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        value = text
    if type(value) in kinds and type(value) is not str:
        return value
    for kind in kinds:
        with suppress(ValueError, ArithmeticError, LookupError):
            if kind in READERS and (read := READERS[kind](text)) is not None:
                return read
    if str in kinds:
        return value if isinstance(value, str) else text
    if all(kind in READERS or kind is NoneType for kind in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds if kind is not NoneType)
        raise CommandError(f"{name} must be of the type {wanted}, and {text!r} is not.")
    return value


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity are no JSON, though Python's reader takes them."""
    raise ValueError(constant)

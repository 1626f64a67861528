"""Arguments and return values to text and back. The only (de)serialiser: never pickle, never an import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ..exceptions import ArgumentError, PayloadError, PayloadTooLarge, ResultNotSerializable, ResultTooLarge
from . import plain, tags, writing
from .rebuilding import rebuilders_of
from .refusal import Refused, TooLarge, in_call, in_value, shows_all
from .writing import Walk, write_items, write_pairs

MIB = 1 << 20
_OURS = (writing.WRITERS, writing.write_other, writing.write_key)
_DJANGOS = (plain.WRITERS, plain.write_plain, plain.write_plain_key)


def encode_call(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    names: Sequence[str] = (),
    hides: Callable[[int | str], bool] = shows_all,
    max_bytes: int = MIB,
    plain: bool = False,
    function: Callable[..., Any] | None = None,
    takes_context: bool = False,
) -> str:
    """The text of ``[args, kwargs]``. ``names``: the parameters that ``args`` fill; ``hides``: as in ``in_call``.

    ``plain``: by the rules of Django's ``normalize_json``, for tasks of its own decorator. ``function``: refuse what
    ``decode_call`` would not make equal from its annotations; the rest as there.
    Raises ArgumentError naming argument, type and remedy; PayloadTooLarge.
    """
    walk = Walk(*_DJANGOS if plain else _OURS, max_bytes)
    try:
        text = _dumps([write_items(args, 0, walk), write_pairs(kwargs, 0, walk)], walk)
        if function is not None and (rebuilders := rebuilders_of(function, takes_context)):
            rebuilders.check((args, kwargs), decode_call(text))
        return text
    except TooLarge as large:
        remedy = f'the limit is {large.limit} (OPTIONS["max_payload"]): store it and pass a key'
        raise PayloadTooLarge(f"arguments are {large.size}, {remedy}") from None
    except Refused as refused:
        raise ArgumentError(in_call(refused, names, hides)) from refused.__cause__


def encode_value(value: Any, *, max_bytes: int = MIB, plain: bool = False) -> str:
    """The text of a return value. Raises ResultTooLarge, ResultNotSerializable (``plain``: Django's TypeError)."""
    if value is None:  # of most tasks
        return "null"
    walk = Walk(*_DJANGOS if plain else _OURS, max_bytes)
    try:
        return _dumps(write_items((value,), 0, walk)[0], walk)
    except TooLarge as large:
        limit = f'{large.limit.replace(".0 ", " ")} (OPTIONS["max_payload"])'
        raise ResultTooLarge(f"return value is {large.size} > {limit}: store it and return a key") from None
    except Refused as refused:
        kind: type[Exception] = TypeError if plain else ResultNotSerializable
        raise kind(in_value(refused)) from refused.__cause__


def decode_call(
    text: str, function: Callable[..., Any] | None = None, *, takes_context: bool = False
) -> tuple[list[Any], dict[str, Any]]:
    """What ``encode_call`` was given; Enums and dataclasses are rebuilt from the annotations of ``function``.

    ``takes_context``: the worker fills its first parameter. Raises PayloadError.
    """
    call = _loads(text)
    if type(call) is not list or len(call) != 2 or type(call[0]) is not list or type(call[1]) is not dict:
        raise PayloadError("The stored arguments are not [list, dict].")
    args, kwargs = call
    if '"$t"' in text:
        args = tags.from_json(args)
        kwargs = {name: tags.from_json(value) for name, value in kwargs.items()}  # each: one may be named "$t"
    if function is not None and (rebuilders := rebuilders_of(function, takes_context)):
        return rebuilders.rebuild(args, kwargs)
    return args, kwargs


def decode_value(text: str) -> Any:
    """What ``encode_value`` was given. Raises PayloadError."""
    value = _loads(text)
    return tags.from_json(value) if '"$t"' in text else value


def _dumps(value: Any, walk: Walk) -> str:
    text = orjson.dumps(value)
    if len(text) > walk.max_bytes:
        raise TooLarge(len(text), walk.max_bytes)
    return text.decode()


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"The stored text is not JSON: {error}.") from None

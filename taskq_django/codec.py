"""Arguments and results to text and back. The only (de)serialiser; never pickle, never a name to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from .exceptions import ArgumentError, PayloadError, PayloadTooLarge, ResultNotSerializable, ResultTooLarge
from .plain_values import to_plain_json
from .rebuilding import rebuilders_of
from .values import Refused, from_json, to_json, under

MIB = 1024 * 1024


def encode_call(
    args: Sequence[Any], kwargs: Mapping[str, Any], *, names: Sequence[str] = (), max_bytes: int = MIB
) -> str:
    """The text ``[args, kwargs]``. ``names``: the parameters that ``args`` fill, for messages.

    Raises ArgumentError naming argument, type and remedy; PayloadTooLarge.
    """
    try:
        call = [[_enter(i, value) for i, value in enumerate(args)], {k: _enter(k, v) for k, v in kwargs.items()}]
        return _write(call, max_bytes, PayloadTooLarge, "The arguments are")
    except Refused as refused:
        raise ArgumentError(f"{_place(refused.path, names)} {refused.reason}") from None


def encode_value(value: Any, *, max_bytes: int = MIB) -> str:
    """A return value as text. Raises ResultNotSerializable, ResultTooLarge."""
    try:
        return _write(to_json(value, 0), max_bytes, ResultTooLarge, "The return value is")
    except Refused as refused:
        raise ResultNotSerializable(f"The return value{_trail(refused.path)} {refused.reason}") from None


def encode_plain_call(args: Sequence[Any], kwargs: Mapping[str, Any], *, max_bytes: int = MIB) -> str:
    """As ``encode_call``, by django.tasks' own rules: strict JSON, for tasks of its own decorator."""
    try:
        call = [[to_plain_json(value, 1) for value in args], {str(k): to_plain_json(v, 1) for k, v in kwargs.items()}]
        return _write(call, max_bytes, PayloadTooLarge, "The arguments are")
    except Refused as refused:
        raise ArgumentError(refused.reason) from None


def encode_plain_value(value: Any, *, max_bytes: int = MIB) -> str:
    try:
        return _write(to_plain_json(value, 0), max_bytes, ResultTooLarge, "The return value is")
    except Refused as refused:
        raise ResultNotSerializable(refused.reason) from None


def decode_call(text: str, function: Callable[..., Any] | None = None) -> tuple[list[Any], dict[str, Any]]:
    """What ``encode_call`` was given; Enums and dataclasses are rebuilt from the annotations of ``function``.

    Raises PayloadError for text that no version of this code has written.
    """
    call = _read(text)
    match call:
        case [list() as args, dict() as kwargs]:
            pass
        case _:
            raise PayloadError(f"Stored arguments must be [list, dict], not {text[:80]!r}.")
    if function is not None and (rebuilders := rebuilders_of(function)):
        return rebuilders.rebuild(args, kwargs)
    return args, kwargs


def decode_value(text: str) -> Any:
    """What ``encode_value`` was given. Raises PayloadError."""
    return _read(text)


def _enter(key: str | int, value: Any) -> Any:
    kind = type(value)
    if (kind is int and -(2**63) <= value < 2**63) or kind is bool or value is None:
        return value
    return under(key, value, 1)


def _write(value: Any, max_bytes: int, too_large: type[Exception], what: str) -> str:
    try:
        text = orjson.dumps(value)
    except (TypeError, RecursionError) as error:  # a str subclass from somewhere, say
        raise Refused(f"cannot be written as JSON: {error}.") from None
    if len(text) > max_bytes:
        raise too_large(
            f"{what} {len(text) / MIB:.1f} MiB, the limit is {max_bytes / MIB:.1f} MiB "
            '(OPTIONS["max_payload"] in TASKS): store it and pass a key.'
        )
    return text.decode()


def _read(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"Stored text is not JSON ({error}): {text[:80]!r}.") from None
    if '"$t"' not in text:
        return value
    try:
        return from_json(value)
    except PayloadError:
        raise
    except Exception as error:  # a reader given what no writer wrote
        raise PayloadError(f"Stored text has a bad value ({error!r}): {text[:80]!r}.") from error


def _place(path: Sequence[str | int], names: Sequence[str]) -> str:
    if not path:
        return "An argument"
    first = path[0]
    if isinstance(first, int):
        first = names[first] if first < len(names) else f"args[{first}]"
    return f"Argument {first!r}{_trail(path[1:])}"


def _trail(path: Sequence[str | int]) -> str:
    shown = "".join(f"[{key!r}]" for key in path[:6])
    return shown + ("…" if len(path) > 6 else "")

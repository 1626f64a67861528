"""Arguments and results to JSON text and back. The only (de)serialiser; never pickle, never a name to import.

What JSON has no word for is written as ``{"$t": kind, "v": text or list}``, by the closed list below. A user's
own dict that has a ``"$t"`` key is wrapped in the same way, so it comes back as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from django.utils.functional import Promise

from .exceptions import ArgumentError, PayloadError, PayloadTooLarge, ResultNotSerializable, ResultTooLarge
from .rebuilding import rebuilders_of

TAG = "$t"
DEEPEST = 20
LONGEST_INT = 4_300  # digits; Python itself converts no longer ones
MIB = 1024 * 1024
ROOTS = ("args", "kwargs")


class _Refused(Exception):
    """Why a value cannot travel; gathers where it is on its way up."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []


def encode_call(
    args: Sequence[Any], kwargs: Mapping[str, Any], *, names: Sequence[str] = (), max_bytes: int = MIB
) -> str:
    """The text ``[args, kwargs]``. ``names``: the parameters that ``args`` fill, for messages.

    Raises ArgumentError naming argument, type and remedy; PayloadTooLarge.
    """
    try:
        call = [[_enter(i, value) for i, value in enumerate(args)], {k: _enter(k, v) for k, v in kwargs.items()}]
        return _write(call, max_bytes, PayloadTooLarge, "The arguments are")
    except _Refused as refused:
        raise ArgumentError(f"{_place(refused.path, names)} {refused.reason}") from None


def encode_value(value: Any, *, max_bytes: int = MIB) -> str:
    """A return value as text. Raises ResultNotSerializable, ResultTooLarge."""
    try:
        return _write(_walk(value, 0), max_bytes, ResultTooLarge, "The return value is")
    except _Refused as refused:
        raise ResultNotSerializable(f"The return value{_trail(refused.path)} {refused.reason}") from None


def encode_plain_call(args: Sequence[Any], kwargs: Mapping[str, Any], *, max_bytes: int = MIB) -> str:
    """As ``encode_call``, by django.tasks' own rules: strict JSON, for tasks of its own decorator."""
    try:
        call = [[_plain(value, 1) for value in args], {str(k): _plain(v, 1) for k, v in kwargs.items()}]
        return _write(call, max_bytes, PayloadTooLarge, "The arguments are")
    except _Refused as refused:
        raise ArgumentError(refused.reason) from None


def encode_plain_value(value: Any, *, max_bytes: int = MIB) -> str:
    try:
        return _write(_plain(value, 0), max_bytes, ResultTooLarge, "The return value is")
    except _Refused as refused:
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


# --- writing -----------------------------------------------------------------------------------------------------


def _enter(key: str | int, value: Any) -> Any:
    kind = type(value)
    if (kind is int and -(2**63) <= value < 2**63) or kind is bool or value is None:
        return value
    return _under(key, value, 1)


def _under(key: str | int, value: Any, depth: int) -> Any:
    try:
        return _walk(value, depth)
    except _Refused as refused:
        refused.path.insert(0, key)
        raise


def _walk(value: Any, depth: int) -> Any:
    write = _WRITERS.get(type(value))
    return write(value, depth) if write else _write_other(value, depth)


def _same(value: Any, depth: int) -> Any:
    return value


def _write_str(value: str, depth: int) -> str:
    if "\0" in value:
        raise _Refused("contains a NUL character, which PostgreSQL cannot store. Remove it, or send bytes.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Refused("contains a lone surrogate, so it is not valid Unicode. Send bytes.") from None
    return value


def _write_int(value: int, depth: int) -> Any:
    if -(2**63) <= value < 2**63:
        return value
    if value.bit_length() > LONGEST_INT * 3.33:
        raise _Refused(f"is an int of more than {LONGEST_INT} digits. Send it as bytes, or store it and pass a key.")
    return {TAG: "int", "v": str(value)}


def _write_float(value: float, depth: int) -> float:
    if not math.isfinite(value):
        raise _Refused(f"is {value}, which JSON does not have. Send None or a str instead.")
    return value


def _write_list(value: Sequence[Any], depth: int) -> list[Any]:
    if depth >= DEEPEST:
        raise _Refused(f"is deeper than {DEEPEST} levels, or contains itself. Flatten it, or store it and pass a key.")
    return [_under(index, item, depth + 1) for index, item in enumerate(value)]


def _write_dict(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if depth >= DEEPEST:
        raise _Refused(f"is deeper than {DEEPEST} levels, or contains itself. Flatten it, or store it and pass a key.")
    written = {}
    for key, item in value.items():
        if type(key) is not str:
            kind = type(key).__qualname__
            raise _Refused(f"has the key {_shown(key)} of type {kind}; keys must be str. Convert it, or send pairs.")
        written[_write_str(key, depth)] = _under(key, item, depth + 1)
    return {TAG: "dict", "v": written} if TAG in written else written


def _tagged(kind: str, text: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    return lambda value, depth: {TAG: kind, "v": text(value)}


def _write_datetime(value: datetime, depth: int) -> Any:
    # The zone's name and the fold, so that it comes back equal and in its zone; other zones keep their offset.
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        naive = value.replace(tzinfo=None, fold=0).isoformat()
        return {TAG: "datetime", "v": [naive, value.tzinfo.key, value.fold]}
    return {TAG: "datetime", "v": value.isoformat()}


def _write_time(value: time, depth: int) -> Any:
    if value.tzinfo is not None:
        raise _Refused("is a time with a zone, which has no fixed meaning. Send a datetime, or the zone beside it.")
    return {TAG: "time", "v": value.isoformat()}


def _write_decimal(value: Decimal, depth: int) -> Any:
    if not value.is_finite():
        raise _Refused(f"is Decimal {value}. Send None or a str instead.")
    return {TAG: "decimal", "v": str(value)}


def _tagged_items(kind: str) -> Callable[[Any, int], Any]:
    return lambda value, depth: {TAG: kind, "v": _write_list(list(value), depth)}


_WRITERS: dict[type, Callable[[Any, int], Any]] = {
    type(None): _same,
    bool: _same,
    str: _write_str,
    int: _write_int,
    float: _write_float,
    list: _write_list,
    dict: _write_dict,
    tuple: _tagged_items("tuple"),
    set: _tagged_items("set"),
    frozenset: _tagged_items("frozenset"),
    datetime: _write_datetime,
    date: _tagged("date", date.isoformat),
    time: _write_time,
    timedelta: _tagged("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: _write_decimal,
    UUID: _tagged("uuid", str),
    bytes: _tagged("bytes", lambda value: value.hex()),
}


def _write_other(value: Any, depth: int) -> Any:
    if isinstance(value, Enum):
        return _walk(value.value, depth)
    if is_dataclass(value) and not isinstance(value, type):
        return _write_dict({field.name: getattr(value, field.name) for field in fields(value)}, depth)
    if isinstance(value, Promise):  # a lazy translation
        return _write_str(str(value), depth)
    raise _Refused(f"is of type {_type_name(value)} and cannot be sent. {_remedy(value)}")


def _remedy(value: Any) -> str:
    kind = type(value).__name__
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        return "It is a model instance: pass obj.pk and load it in the task."
    if hasattr(value, "model") and hasattr(value, "query"):
        return "It is a QuerySet: pass the primary keys, and query again in the task."
    if kind in {"coroutine", "async_generator"}:
        return "Declare the task with `async def`, and await it there."
    if kind == "generator":
        return "Make it a list."
    if hasattr(value, "read"):
        return "Pass the file's name, or its content."
    return "Pass an id, a str or a dict of its data."


# --- django.tasks' rules -----------------------------------------------------------------------------------------


def _plain(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise _Refused(f"Arguments are deeper than {DEEPEST} levels, or contain themselves.")
    match value:
        case Mapping():
            return {_plain_key(key): _plain(item, depth + 1) for key, item in value.items()}
        case bytes():
            try:
                return _write_str(value.decode(), depth)
            except UnicodeDecodeError:
                raise _Refused(f"Unsupported value: {type(value)}") from None
        case str():
            return _write_str(str(value.value if isinstance(value, Enum) else value), depth)
        case None | bool():
            return value
        case int():
            return _write_int(int(value), depth)
        case float():
            return _write_float(float(value), depth)
        case Sequence():
            return [_plain(item, depth + 1) for item in value]
        case _:
            raise _Refused(f"Unsupported type: {type(value)}")


def _plain_key(key: Any) -> str:
    """What JSON makes of a key."""
    if isinstance(key, str):
        return _write_str(str(key), 0)
    if key is None or isinstance(key, (bool, int, float)):
        return orjson.dumps(key).decode()
    raise _Refused(f"Unsupported type: {type(key)}")


def _write(value: Any, max_bytes: int, too_large: type[Exception], what: str) -> str:
    try:
        text = orjson.dumps(value)
    except (TypeError, RecursionError) as error:  # a str subclass from somewhere, say
        raise _Refused(f"cannot be written as JSON: {error}.") from None
    if len(text) > max_bytes:
        raise too_large(
            f"{what} {len(text) / MIB:.1f} MiB, the limit is {max_bytes / MIB:.1f} MiB "
            '(OPTIONS["max_payload"] in TASKS): store it and pass a key.'
        )
    return text.decode()


# --- reading -----------------------------------------------------------------------------------------------------


def _read(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"Stored text is not JSON ({error}): {text[:80]!r}.") from None
    if '"$t"' not in text:
        return value
    try:
        return _untag(value)
    except PayloadError:
        raise
    except Exception as error:  # a reader given what no writer wrote
        raise PayloadError(f"Stored text has a bad value ({error!r}): {text[:80]!r}.") from error


def _untag(value: Any) -> Any:
    if type(value) is list:
        return [_untag(item) for item in value]
    if type(value) is not dict:
        return value
    if TAG not in value:
        return {key: _untag(item) for key, item in value.items()}
    read = _READERS.get(value[TAG]) if isinstance(value[TAG], str) else None
    if read is None or value.keys() != {TAG, "v"}:
        raise PayloadError(f"Stored text has the unknown kind {value[TAG]!r}. Is this worker older than the sender?")
    return read(value["v"])


def _read_datetime(stored: Any) -> datetime:
    if isinstance(stored, str):
        return datetime.fromisoformat(stored)
    naive, zone, fold = stored
    return datetime.fromisoformat(naive).replace(tzinfo=ZoneInfo(zone), fold=fold)


_READERS: dict[str, Callable[[Any], Any]] = {
    "dict": lambda stored: {key: _untag(item) for key, item in stored.items()},
    "int": int,
    "datetime": _read_datetime,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda stored: timedelta(*stored),
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": bytes.fromhex,
    "tuple": lambda stored: tuple(_untag(stored)),
    "set": lambda stored: set(_untag(stored)),
    "frozenset": lambda stored: frozenset(_untag(stored)),
}


# --- messages ----------------------------------------------------------------------------------------------------


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


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(value: Any) -> str:
    try:
        return repr(value)[:80]
    except Exception:  # whatever its __repr__ does
        return "?"

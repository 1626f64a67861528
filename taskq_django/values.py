"""Single values to JSON and back: what travels, by a closed list, and why anything else does not.

What JSON has no word for is written as ``{"$t": kind, "v": …}``. A user's own dict that has a ``"$t"`` key is wrapped
in the same way, so it comes back as it was.
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

from django.utils.functional import Promise

from .exceptions import PayloadError

TAG = "$t"
DEEPEST = 20
LONGEST_INT = 4_300  # digits; Python itself converts no longer ones


class Refused(Exception):
    """Why a value cannot travel; gathers where it is on its way up."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []


def under(key: str | int, value: Any, depth: int) -> Any:
    try:
        return to_json(value, depth)
    except Refused as refused:
        refused.path.insert(0, key)
        raise


def to_json(value: Any, depth: int) -> Any:
    write = _WRITERS.get(type(value))
    return write(value, depth) if write else _write_other(value, depth)


def _same(value: Any, depth: int) -> Any:
    return value


def write_str(value: str, depth: int) -> str:
    if "\0" in value:
        raise Refused("contains a NUL character, which PostgreSQL cannot store. Remove it, or send bytes.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("contains a lone surrogate, so it is not valid Unicode. Send bytes.") from None
    return value


def write_int(value: int, depth: int) -> Any:
    if -(2**63) <= value < 2**63:
        return value
    if value.bit_length() > LONGEST_INT * 3.33:
        raise Refused(f"is an int of more than {LONGEST_INT} digits. Send it as bytes, or store it and pass a key.")
    return {TAG: "int", "v": str(value)}


def write_float(value: float, depth: int) -> float:
    if not math.isfinite(value):
        raise Refused(f"is {value}, which JSON does not have. Send None or a str instead.")
    return value


def _write_list(value: Sequence[Any], depth: int) -> list[Any]:
    if depth >= DEEPEST:
        raise Refused(f"is deeper than {DEEPEST} levels, or contains itself. Flatten it, or store it and pass a key.")
    return [under(index, item, depth + 1) for index, item in enumerate(value)]


def _write_dict(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if depth >= DEEPEST:
        raise Refused(f"is deeper than {DEEPEST} levels, or contains itself. Flatten it, or store it and pass a key.")
    written = {}
    for key, item in value.items():
        if type(key) is not str:
            kind = type(key).__qualname__
            raise Refused(f"has the key {_shown(key)} of type {kind}; keys must be str. Convert it, or send pairs.")
        written[write_str(key, depth)] = under(key, item, depth + 1)
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
        raise Refused("is a time with a zone, which has no fixed meaning. Send a datetime, or the zone beside it.")
    return {TAG: "time", "v": value.isoformat()}


def _write_decimal(value: Decimal, depth: int) -> Any:
    if not value.is_finite():
        raise Refused(f"is Decimal {value}. Send None or a str instead.")
    return {TAG: "decimal", "v": str(value)}


def _tagged_items(kind: str) -> Callable[[Any, int], Any]:
    return lambda value, depth: {TAG: kind, "v": _write_list(list(value), depth)}


_WRITERS: dict[type, Callable[[Any, int], Any]] = {
    type(None): _same,
    bool: _same,
    str: write_str,
    int: write_int,
    float: write_float,
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
        return to_json(value.value, depth)
    if is_dataclass(value) and not isinstance(value, type):
        return _write_dict({field.name: getattr(value, field.name) for field in fields(value)}, depth)
    if isinstance(value, Promise):  # a lazy translation
        return write_str(str(value), depth)
    raise Refused(f"is of type {_type_name(value)} and cannot be sent. {_remedy(value)}")


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


def from_json(value: Any) -> Any:
    if type(value) is list:
        return [from_json(item) for item in value]
    if type(value) is not dict:
        return value
    if TAG not in value:
        return {key: from_json(item) for key, item in value.items()}
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
    "dict": lambda stored: {key: from_json(item) for key, item in stored.items()},
    "int": int,
    "datetime": _read_datetime,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda stored: timedelta(*stored),
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": bytes.fromhex,
    "tuple": lambda stored: tuple(from_json(stored)),
    "set": lambda stored: set(from_json(stored)),
    "frozenset": lambda stored: frozenset(from_json(stored)),
}


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(value: Any) -> str:
    try:
        return repr(value)[:80]
    except Exception:  # whatever its __repr__ does
        return "?"

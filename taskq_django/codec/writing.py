"""What travels and how it is written, by a closed list; ``tags`` reads it again."""

from __future__ import annotations

import math
from binascii import b2a_base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.functional import Promise

from ..exceptions import PayloadError
from .refusal import KeyRefused, Refused, TooLarge, brief, located, unfit
from .tags import TAG, from_json

DEEPEST = 20
_LEAST, _MOST = -(2**63), 2**63 - 1  # what every reader of JSON takes for an int
_HUGE = 10**4300  # Python turns no int of more digits into text
_LONG = 1024  # characters; a longer text is charged before it is searched
_ENCODE = "remove it, or encode the whole as base64"
_TOO_DEEP = f"deeper than {DEEPEST} at {{where}}, or it contains itself: flatten it, or store it and {{give}} a key"


class Walk:
    """One encoding: its rules, and how much it may still write."""

    __slots__ = ("find", "key", "left", "max_bytes", "other")

    def __init__(
        self, writers: Mapping[type, Write | None], other: Write, key: Callable[[Any], str], max_bytes: int
    ) -> None:
        self.find = writers.get  # the writer of a type; None for what JSON has itself
        self.other = other
        self.key = key
        self.max_bytes = max_bytes
        # Ends a hopeless walk: a list that holds one list ten times, and so on twenty levels deep, has 10^20 items.
        # What is less than four times too large is written to its end, so that the message can tell its exact size.
        self.left = 4 * max_bytes

    def spend(self, least: int) -> None:
        """``least``: bytes, never more than will be written. Raises TooLarge."""
        self.left -= least
        if self.left < 0:
            raise TooLarge(4 * self.max_bytes - self.left, self.max_bytes, exact=False)


Write = Callable[[Any, int, Walk], Any]  # value, depth, walk → what orjson can write


def write_items(items: Collection[Any], depth: int, walk: Walk) -> list[Any]:
    """The hot path, with write_pairs: most scalars take no call. An argument has depth 1."""
    if depth > DEEPEST:
        raise Refused(_TOO_DEEP)
    walk.spend(len(items))
    find, other = walk.find, walk.other
    written: list[Any] = []
    characters = 0
    try:
        for item in items:
            kind = type(item)
            if kind is str and len(item) < _LONG and item.isascii() and "\0" not in item:
                characters += len(item)
            elif kind is not int or not _LEAST <= item <= _MOST:
                write = find(kind, other)
                if write is not None:
                    written.append(write(item, depth + 1, walk))
                    continue
            written.append(item)
    except Exception as error:  # the code of an argument (a lazy text, a tzinfo) may raise anything
        refused = located(error, len(written))
        raise refused from refused.__cause__
    if characters:
        walk.spend(characters)
    return written


def write_pairs(pairs: Mapping[Any, Any], depth: int, walk: Walk) -> dict[str, Any]:
    if depth > DEEPEST:
        raise Refused(_TOO_DEEP)
    walk.spend(len(pairs))
    find, other = walk.find, walk.other
    written: dict[str, Any] = {}
    characters, key = 0, None
    try:
        for key, item in pairs.items():
            if type(key) is not str or not key.isascii() or "\0" in key:
                key = _written_key(key, walk)
            characters += len(key)
            kind = type(item)
            if kind is str and len(item) < _LONG and item.isascii() and "\0" not in item:
                characters += len(item)
            elif kind is not int or not _LEAST <= item <= _MOST:
                write = find(kind, other)
                if write is not None:
                    written[key] = write(item, depth + 1, walk)
                    continue
            written[key] = item
    except Exception as error:  # as above
        refused = located(error, key)
        raise refused from refused.__cause__
    if characters:
        walk.spend(characters)
    return written


def _written_key(key: Any, walk: Walk) -> str:
    try:
        return walk.key(key)
    except Refused as refused:
        raise KeyRefused(refused.sentence, **refused.facts) from None


def write_dict(value: Mapping[Any, Any], depth: int, walk: Walk) -> dict[str, Any]:
    written = write_pairs(value, depth, walk)
    return {TAG: "dict", "v": written} if TAG in written else written


def _write_tuple(value: Collection[Any], depth: int, walk: Walk) -> Any:
    return {TAG: "tuple", "v": write_items(value, depth, walk)}


def _write_set(value: Collection[Any], depth: int, walk: Walk) -> Any:
    """Refuses what could not be a set again: until an annotation rebuilds it, a dataclass is a dict."""
    written = {TAG: type(value).__name__, "v": write_items(value, depth, walk)}
    try:
        same = len(from_json(written)) == len(value)
    except PayloadError:
        same = False
    if not same:
        raise Refused("{where} is a set of what is not hashable as JSON: {give} a list")
    return written


def write_str(value: str, depth: int = 0, walk: Walk | None = None) -> str:
    if walk is not None:
        walk.spend(len(value))
    if "\0" in value:
        raise Refused(f"{{where}} has NUL in it, which PostgreSQL cannot store: {_ENCODE}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused(f"{{where}} has a lone surrogate, which is no text: {_ENCODE}") from None
    return value


def _write_int(value: int, depth: int, walk: Walk) -> Any:
    if _LEAST <= value <= _MOST:
        return value
    if not -_HUGE < value < _HUGE:
        raise Refused("{where} is an int of more than 4300 digits: {give} it as bytes")
    return {TAG: "int", "v": str(value)}


def _write_float(value: float, depth: int, walk: Walk) -> float:
    if not math.isfinite(value):
        raise Refused("{where} is {value}, which JSON does not have: {give} None or a str", value=value)
    return value


def _write_decimal(value: Decimal, depth: int, walk: Walk) -> Any:
    if not value.is_finite():
        raise Refused("{where} is Decimal {value}: {give} None or a str", value=value)
    return {TAG: "decimal", "v": str(value)}


def _write_datetime(value: datetime, depth: int, walk: Walk) -> Any:
    if type(value.tzinfo) is ZoneInfo and value.tzinfo.key:
        return {TAG: "zoned", "v": [value.isoformat(), value.tzinfo.key, value.fold]}
    return _folded(value, {TAG: "datetime", "v": value.isoformat()})


def _write_time(value: time, depth: int, walk: Walk) -> Any:
    if value.tzinfo is not None and value.utcoffset() is None:
        remedy = "{give} a datetime, or the zone's name beside it"
        raise Refused(f"{{where}} is a time whose UTC offset depends on the date: {remedy}")
    return _folded(value, {TAG: "time", "v": value.isoformat()})


def _folded(value: datetime | time, written: Any) -> Any:
    """ISO 8601 has no word for a fold, by which a time that a clock shows twice is the second one."""
    return {TAG: "fold", "v": [written]} if value.fold else written


def _write_bytes(value: bytes, depth: int, walk: Walk) -> Any:
    walk.spend(len(value))
    return {TAG: "bytes", "v": b2a_base64(value, newline=False).decode()}


def _tagged(kind: str, form: Callable[[Any], Any]) -> Write:
    return lambda value, depth, walk: {TAG: kind, "v": form(value)}


PLAIN_WRITERS: dict[type, Write | None] = {
    NoneType: None,
    bool: None,
    str: write_str,
    int: _write_int,
    float: _write_float,
}
_TAGGED_WRITERS: dict[type, Write] = {
    datetime: _write_datetime,
    date: _tagged("date", date.isoformat),
    time: _write_time,
    timedelta: _tagged("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: _write_decimal,
    UUID: _tagged("uuid", str),
    bytes: _write_bytes,
}
# For subclasses whose values may equal what comes back: SafeString, float64, the datetimes of a frozen clock.
BASE_WRITERS: dict[type, Write] = {
    str: lambda value, depth, walk: write_str(str.__str__(value)),
    int: lambda value, depth, walk: _write_int(int.__int__(value), depth, walk),
    float: lambda value, depth, walk: _write_float(float.__float__(value), depth, walk),
    **{base: _TAGGED_WRITERS[base] for base in (UUID, datetime, date)},
}


def write_key(key: Any) -> str:
    if isinstance(key, str):
        return write_str(str.__str__(key))
    sentence = "{where} is {key} of type {kind}; keys must be str: {give} a list of pairs"
    raise Refused(sentence, key=brief(key), kind=type(key).__qualname__)


WRITERS: dict[type, Write | None] = {
    **PLAIN_WRITERS,
    **_TAGGED_WRITERS,
    list: write_items,
    dict: write_dict,
    tuple: _write_tuple,
    set: _write_set,
    frozenset: _write_set,
}


def write_other(value: Any, depth: int, walk: Walk) -> Any:
    if isinstance(value, Enum):
        write = walk.find(type(value.value), walk.other)
        return value.value if write is None else write(value.value, depth, walk)
    if is_dataclass(value) and not isinstance(value, type):
        return write_dict({field.name: getattr(value, field.name) for field in fields(value)}, depth, walk)
    if isinstance(value, Promise):
        return write_str(str(value))
    if isinstance(value, dict) and not hasattr(value, "getlist"):  # a QueryDict has more than its items
        return write_dict(value, depth, walk)
    if isinstance(value, list):
        return write_items(value, depth, walk)
    for base, write_base in BASE_WRITERS.items():
        if isinstance(value, base):
            written = write_base(value, depth, walk)
            if from_json(written) == value:  # not pandas' datetimes, say, which have nanoseconds
                return written
    raise unfit(value)

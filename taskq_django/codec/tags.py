"""What the tags of stored text mean, and the reading of them.

What JSON has no word for is ``{"$t": kind, "v": …}``, by the closed list ``READERS``. A user's own dict that
has a ``"$t"`` key is of the kind "dict", so it comes back as it was.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ..exceptions import PayloadError
from .refusal import brief

TAG = "$t"
# The types that come back as they were, without an annotation.
PLAIN = (
    *(NoneType, bool, int, float, str, list, dict, tuple, set, frozenset),
    *(datetime, date, time, timedelta, Decimal, UUID, bytes),
)


def from_json(value: Any) -> Any:
    """A value from JSON with its tagged parts read. Raises PayloadError."""
    try:
        return _read(value)
    except RecursionError:
        raise PayloadError("The stored text is nested too deep.") from None


def _read(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_read(item) for item in value]
    if kind is not dict:
        return value
    return _read_tagged(value) if TAG in value else _read_values(value)


def _read_values(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _read(item) for key, item in values.items()}


def _read_tagged(tagged: dict[str, Any]) -> Any:
    kind, stored = tagged[TAG], tagged.get("v")
    if type(kind) is not str or kind not in READERS:
        what = f"the unknown kind {brief(kind)}: was it sent by a newer version?"
        raise PayloadError(f"The stored text has {what}")
    expected, reader = READERS[kind]
    if type(stored) is not expected or len(tagged) != 2:
        raise PayloadError(f"The stored text has a {kind} that is not one.")
    try:
        return reader(stored)
    except (PayloadError, RecursionError):
        raise
    except Exception as error:  # given what no writer wrote, a reader may raise anything
        why = type(error).__name__  # its text is the stored value
        raise PayloadError(f"The stored text has a {kind} that cannot be read ({why}).") from None


def _read_zoned(stored: list[Any]) -> datetime:
    text, key, fold = stored
    moment = datetime.fromisoformat(text)
    zoned = moment.replace(tzinfo=ZoneInfo(key), fold=fold)
    # The instant wins where the rules of the zone differ between sender and worker.
    return zoned if zoned.utcoffset() == moment.utcoffset() else moment.astimezone(zoned.tzinfo)


def _read_decimal(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError(text)
    return value


def _read_timedelta(stored: list[Any]) -> timedelta:
    days, seconds, microseconds = stored
    return timedelta(days, seconds, microseconds)


# By kind: the type that "v" has, and the reader.
READERS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "int": (str, int),
    "datetime": (str, datetime.fromisoformat),
    "zoned": (list, _read_zoned),
    "date": (str, date.fromisoformat),
    "time": (str, time.fromisoformat),
    "timedelta": (list, _read_timedelta),
    "decimal": (str, _read_decimal),
    "uuid": (str, UUID),
    "bytes": (str, lambda text: a2b_base64(text, strict_mode=True)),
    "tuple": (list, lambda stored: tuple(map(_read, stored))),
    "set": (list, lambda stored: set(map(_read, stored))),
    "frozenset": (list, lambda stored: frozenset(map(_read, stored))),
    "dict": (dict, _read_values),
    "fold": (list, lambda stored: _read(stored[0]).replace(fold=1)),
}

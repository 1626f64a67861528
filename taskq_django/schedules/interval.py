"""``5 minutes``: every so often, counted from an anchor; no drift, and no clock that changes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ..exceptions import SpecError
from .base import Kind, in_utc
from .words import interval_in_words

SECONDS = {"week": 604_800, "day": 86_400, "hour": 3600, "minute": 60, "second": 1}
_SHORT = {"w": "week", "d": "day", "h": "hour", "m": "minute", "min": "minute", "s": "second", "sec": "second"}
_WHOLE = re.compile(r"\s*(?:\d{1,12}\s*[A-Za-z]+[\s,]*)+")
_PART = re.compile(r"(\d+)\s*([A-Za-z]+)")

LONGEST = 100  # characters
SHORTEST_INTERVAL, LONGEST_INTERVAL = 1, 3650 * 86_400  # seconds


class Interval(Kind):
    def __init__(self, spec: str, zone: ZoneInfo, anchor: datetime) -> None:
        self._seconds = read_interval(spec)
        self.spec = interval_text(self._seconds)
        self._every = timedelta(seconds=self._seconds)
        self._anchor = in_utc(anchor)

    def next_after(self, moment: datetime) -> datetime | None:
        moment = in_utc(moment)
        if moment < self._anchor:
            return self._anchor
        try:
            return self._anchor + ((moment - self._anchor) // self._every + 1) * self._every
        except OverflowError:
            return None

    def describe(self) -> str:
        parts = self.spec.split(" ")
        units = (unit.removesuffix("s") for unit in parts[1::2])
        return interval_in_words(list(zip(map(int, parts[::2]), units, strict=True)))


def read_interval(spec: str) -> int:
    """Seconds. Raises SpecError."""
    if not isinstance(spec, str) or len(spec) > LONGEST or not spec.isascii() or not _WHOLE.fullmatch(spec):
        raise SpecError("spec", "An interval is a number and a unit: 30 seconds, 5 minutes, 1 hour 30 minutes, 2 days.")
    seconds = 0
    for number, word in _PART.findall(spec):
        unit = _SHORT.get(word.lower()) or word.lower().removesuffix("s")
        if unit not in SECONDS:
            raise SpecError("spec", f"{word[:20]!r} is no unit: it is one of {', '.join(SECONDS)}.")
        seconds += int(number) * SECONDS[unit]
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise SpecError("spec", "An interval is at least 1 second and at most 3650 days.")
    return seconds


def interval_text(seconds: int) -> str:
    """``1 hour 30 minutes``"""
    parts = []
    for unit, size in SECONDS.items():
        if unit == "week" and seconds % size:
            continue
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}" + "s" * (count > 1))
    return " ".join(parts)

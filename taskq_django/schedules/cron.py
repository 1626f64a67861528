"""``0 9 * * 1-5``: five fields, read by croniter behind a guard.

croniter knows the calendar only; what the clocks of the zone do is decided here (the rule of Debian's cron):
a fixed hour fires once a day, in a gap at its end, twice told the first time; an hour that begins with ``*`` follows
the clock, so it fires in both passes, and not at all at a time that does not exist.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cron_descriptor import ExpressionDescriptor, Options
from croniter import croniter

from ..exceptions import SpecError
from .base import Kind
from .zones import Change, change_between, is_second_pass, offset_at

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
SIZES = (60, 24, 31, 12, 7)
RANGES = dict(zip(FIELDS, [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)], strict=True))
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

LONGEST = 100  # characters, and
MOST_ITEMS = 60  # of all fields: a longer list takes croniter seconds
YEARS = 9  # in which there must be a match: from 29 February 2096 the next one is 8 years away

# Of a calendar without clocks. Whatever combination of day, month and weekday there is comes within YEARS of it.
A_DAY = datetime(2024, 1, 1)  # noqa: DTZ001

_WORD = re.compile(r"[A-Za-z0-9*?,/#-]+")
_REVERSED_OR_EQUAL = re.compile(r"(?<![\w-])(\w+)-(\w+)(?![\w-])")
_STEP = re.compile(r"([^,/]+)/(\d+)")
_MINUTE = timedelta(minutes=1)
# What croniter raises for what it cannot read, beside its own errors, which are ValueErrors.
_UNREADABLE = (ValueError, OverflowError, TypeError, AttributeError, KeyError, IndexError)


class Cron(Kind):
    def __init__(self, spec: str, zone: ZoneInfo, anchor: datetime) -> None:
        self.spec = _guarded(spec)
        self._fields = ALIASES.get(self.spec, self.spec).split(" ")
        self._zone = zone
        self._follows_clock = self._fields[1].startswith("*")
        try:
            self._calendar = croniter(" ".join(self._fields), A_DAY, max_years_between_matches=YEARS)
        except _UNREADABLE as error:
            raise SpecError("spec", f"{_shortened(self.spec)} is no cron expression: {_reason(error)}") from None
        self._lock = threading.Lock()
        if self._wall_after(A_DAY) is None:
            raise SpecError("spec", f"{self.spec!r} never fires: its day does not come in its month.")

    def next_after(self, moment: datetime) -> datetime | None:
        at = moment.astimezone(UTC)
        while True:
            offset = offset_at(self._zone, at)
            wall = self._wall_after(at.replace(tzinfo=None) + offset)
            if wall is None:
                return None
            slot = (wall - offset).replace(tzinfo=UTC)
            change = change_between(self._zone, at, slot)
            if change is None:
                if self._follows_clock or not is_second_pass(self._zone, slot):
                    return slot
                at = slot
            elif self._fires_at(change, wall):
                return change.at
            else:
                at = change.at

    def _fires_at(self, change: Change, wall: datetime) -> bool:
        """Is there a slot at the very moment of a change? ``wall`` is the next match by the clock before it."""
        if change.is_gap and not self._follows_clock and wall < change.new_wall:
            return True
        if not self._follows_clock and is_second_pass(self._zone, change.at):
            return False
        return self._matches(change.new_wall)

    def _matches(self, wall: datetime) -> bool:
        return self._wall_after(wall - _MINUTE) == wall

    def _wall_after(self, wall: datetime) -> datetime | None:
        """The next match of a clock that never changes; naive."""
        with self._lock:
            try:
                found: datetime = self._calendar.get_next(datetime, start_time=wall, update_current=False)
            except _UNREADABLE:  # no match within YEARS, or the end of time
                return None
        return found if found > wall else None

    def describe(self) -> str:
        options = Options()
        options.use_24hour_time_format = True
        options.locale_code = "en_US"
        fields = [_without_long_step(field, size) for field, size in zip(self._fields, SIZES, strict=True)]
        try:
            return str(ExpressionDescriptor(" ".join(fields), options).get_description())
        except Exception:  # of a library, about what is only told to people
            return self.spec

    def lints(self) -> Sequence[str]:
        return list(self._lints())

    def _lints(self) -> Iterator[str]:
        minute, hour, day, _, weekday = self._fields
        for name, field, size in zip(FIELDS, self._fields, SIZES, strict=True):
            for begin, step in _STEP.findall(field):
                if int(step) >= size:
                    yield f"{begin}/{step} in the {name}: a step of {step} leaves the first value only."
                elif size in {60, 24} and begin == "*" and size % int(step):
                    unit = "hour" if size == 60 else "day"
                    yield f"*/{step} in the {name} begins anew each {unit}: the last step of a {unit} is shorter."
        if not _is_any(day) and not _is_any(weekday):
            yield "Day of month and day of week are both given: it fires when either of them matches."
        if minute.startswith("*") and not hour.startswith("*"):
            yield "The minute is open and the hour is not: it fires many times within each of its hours."
        if day in {"29", "30", "31"}:
            yield f"There is no {day}{'st' if day == '31' else 'th'} in every month; L is the last day of each."

    def note(self, slot: datetime) -> str:
        local = slot.astimezone(self._zone)
        wall = local.replace(tzinfo=None)
        change = change_between(self._zone, slot - _MINUTE, slot)
        if change and change.is_gap and not self._follows_clock:
            missed = self._wall_after(change.old_wall - _MINUTE)
            if missed is not None and missed < change.new_wall:
                return f"{missed:%H:%M} does not exist on {_day(missed)}: runs at {wall:%H:%M}"
        if local.fold == 1:
            return f"{wall:%H:%M} comes twice on {_day(wall)}: this is the second"
        if local.replace(fold=1).utcoffset() != local.utcoffset():
            again = "runs both times" if self._follows_clock else "runs the first time only"
            return f"{wall:%H:%M} comes twice on {_day(wall)}: {again}"
        return ""


def _guarded(spec: str) -> str:
    """The expression in its usual spelling; refuses what croniter would hang over, or read in a surprising way."""
    if not isinstance(spec, str) or not spec.strip():
        raise SpecError("spec", "A cron expression has five fields: minute, hour, day of month, month, day of week.")
    if len(spec) > LONGEST:
        raise SpecError("spec", f"A cron expression has at most {LONGEST} characters, not {len(spec)}.")
    if "\n" in spec or "\r" in spec or "\t" in spec or not spec.isascii() or not spec.isprintable():
        raise SpecError("spec", "A cron expression is one line of plain ASCII characters.")
    words = spec.split()
    if spec.strip().startswith("@"):
        if spec.strip().lower() not in ALIASES:
            raise SpecError("spec", f"{_shortened(spec.strip())} is none of {', '.join(ALIASES)}.")
        return spec.strip().lower()
    if len(words) != 5:
        seconds = " Seconds are not a field: every(seconds=…) or kind interval has them." if len(words) > 5 else ""
        given = f"{len(words)} field" + "s" * (len(words) != 1)
        raise SpecError("spec", f"{_shortened(spec)} has {given}; it must have five: {', '.join(FIELDS)}.{seconds}")
    if sum(word.count(",") + 1 for word in words) > MOST_ITEMS:
        raise SpecError("spec", f"A cron expression has at most {MOST_ITEMS} items in its lists.")
    for name, word in zip(FIELDS, words, strict=True):
        _check_field(name, word)
    _, _, day, _, weekday = words
    if ("#" in weekday and not _is_any(day)) or ("W" in day.upper() and not _is_any(weekday)):
        raise SpecError("spec", "# and W cannot be used together with the other field for the day: make it *.")
    return " ".join(words)


def _check_field(name: str, word: str) -> None:
    if not _WORD.fullmatch(word):
        raise SpecError(
            "spec", f"{_shortened(word)} is no {name}: it takes numbers, names, and the signs * , - / ? L W #."
        )
    upper = word.upper()
    if name in {"minute", "hour"} and re.search("[A-Z]", upper):
        kind = "H and R, a time by chance, are" if re.search(r"(^|,)[HR]", upper) else "Letters are"
        raise SpecError("spec", f"{_shortened(word)} is no {name}: {kind} not taken there.")
    if re.search(r"(^|,)[HR](\W|$)", upper):
        raise SpecError("spec", f"{_shortened(word)} is no {name}: H and R, a time by chance, are not taken.")
    lowest, highest = RANGES[name]
    for sign, number in re.findall(r"([/#]?)(\d+)", word):
        if len(number) > 3 or (not sign and not lowest <= int(number) <= highest):
            raise SpecError("spec", f"{number[:20]} in the {name} is out of range: it is from {lowest} to {highest}.")
    for first, last in _REVERSED_OR_EQUAL.findall(word):
        if first.upper() == last.upper():
            raise SpecError("spec", f"{first}-{last} in the {name} is a range of one: write {first}.")


def _is_any(field: str) -> bool:
    return field in {"*", "?"}


def _without_long_step(field: str, size: int) -> str:
    """``*/90`` as it is read: cron-descriptor would say "Every 90 minutes"."""
    begin, _, step = field.partition("/")
    if not step.isdigit() or int(step) < size:
        return field
    return ("1" if size in {31, 12} else "0") if begin == "*" else begin.partition("-")[0]


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def _reason(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).rpartition("] ")[2]
    return f"{text[:100]}." if text else "it cannot be read."


def _day(wall: datetime) -> str:
    return f"{wall.day} {wall:%b}"

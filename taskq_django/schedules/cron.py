"""``0 9 * * 1-5``: five fields.

croniter finds the days and times of a calendar, in fields that are written out (``cron_fields``). What the clocks of
the zone do is decided here, by the rule of Debian's cron: a fixed hour fires once a day, in a gap at its end, twice
told the first time; an hour that begins with ``*`` follows the clock, so it fires in both passes, and not at all at a
time that does not exist.

The two libraries are imported where they are used, because a worker without a beat needs neither: a mebibyte.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _t

from ..exceptions import SpecError
from . import words
from .base import Kind, in_utc
from .cron_fields import ALIASES, FIELDS, guarded, shortened
from .zones import Change, change_between, is_second_pass, offset_at

if TYPE_CHECKING:
    from croniter import croniter

# There must be a match within so many years: the fifth Monday of a February comes every 28 years, and after 40 years
# around the year 2100.
YEARS = 41
LAST_YEAR = 9998  # so that no sum goes beyond the end of time

# Of a calendar without clocks. Whatever combination of day, month and weekday there is comes within YEARS of it.
A_DAY = datetime(2024, 1, 1)  # noqa: DTZ001
DAYS_IN = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_MINUTE = timedelta(minutes=1)
# What croniter raises for what it cannot read, beside its own errors, which are ValueErrors.
_UNREADABLE = (ValueError, OverflowError, TypeError, AttributeError, KeyError, IndexError)


class Cron(Kind):
    def __init__(self, spec: str, zone: ZoneInfo, anchor: datetime) -> None:
        from croniter import croniter

        self.spec = guarded(spec)
        self._fields = ALIASES.get(self.spec, self.spec).split(" ")
        self._zone = zone
        self._follows_clock = self._fields[1].startswith("*")
        self._written = [field.written_out(word) for field, word in zip(FIELDS, self._fields, strict=True)]
        minute, hour, day, month, weekday = self._written
        expressions = [self._written]
        self._either_day = day != "*" and weekday != "*"
        if self._either_day:
            if "w" in day or "#" in weekday or "l" in weekday:  # other crons want both days then, not either
                raise SpecError("spec", "W, # and the L of a weekday need a * in the other field for the day.")
            expressions = [[minute, hour, day, month, "*"], [minute, hour, "*", month, weekday]]
        try:
            calendars = [croniter(" ".join(fields), A_DAY, max_years_between_matches=YEARS) for fields in expressions]
        except _UNREADABLE as error:
            raise SpecError("spec", f"{shortened(self.spec)} is no cron expression: {_reason(error)}") from None
        self._lock = threading.Lock()
        self._last_search = A_DAY, A_DAY  # replaced as one, by any thread: there is no match between the two
        self._calendars = [each for each in calendars if self._match_after(A_DAY, each)]
        if not self._calendars:
            raise SpecError("spec", f"{self.spec!r} never fires: its day does not come in its month.")

    def next_after(self, moment: datetime) -> datetime | None:
        at = in_utc(moment)
        while at.year <= LAST_YEAR:
            offset = offset_at(self._zone, at)
            wall = self._wall_after(at.replace(tzinfo=None) + offset)
            if wall is None or wall.year > LAST_YEAR:
                break
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
        return None

    def _fires_at(self, change: Change, wall: datetime) -> bool:
        """Is there a slot at the very moment of a change? ``wall`` is the next match by the clock before it."""
        if change.is_gap and not self._follows_clock and wall < change.new_wall:
            return True
        if not self._follows_clock and is_second_pass(self._zone, change.at):
            return False
        return self._wall_after(change.new_wall - _MINUTE) == change.new_wall

    def _wall_after(self, wall: datetime) -> datetime | None:
        """The next match of a clock that never changes; naive."""
        begin, found = self._last_search
        if begin <= wall < found:  # without it, each change of the clocks before a rare match costs a search
            return found
        match = min(filter(None, (self._match_after(wall, each) for each in self._calendars)), default=None)
        if match is not None:
            self._last_search = wall, match
        return match

    def _match_after(self, wall: datetime, calendar: croniter) -> datetime | None:
        with self._lock:
            try:
                found: datetime = calendar.get_next(datetime, start_time=wall, update_current=False)
            except _UNREADABLE:  # no match within YEARS, or the end of time
                return None
        return found if found > wall else None

    def describe(self) -> str:
        from cron_descriptor import ExpressionDescriptor, Options

        options = Options()
        options.use_24hour_time_format = True
        options.locale_code = words.cron_locale()
        weekday = self._written[4]
        if "#" in weekday and "," in weekday:  # cron-descriptor does not say which ones
            return self.spec
        try:
            text = str(ExpressionDescriptor(" ".join(self._spoken()), options).get_description())
        except Exception:  # of a library, about what is only told to people
            return self.spec
        # Some of its versions do not know that either day is enough.
        text = text.replace(", only on ", ", or on ") if self._either_day else text
        return words.in_other_words(text)

    def _spoken(self) -> Iterator[str]:
        """The fields, without what cron-descriptor would tell wrong: "Every 90 minutes", "every 2 weeks"."""
        for field, word, written in zip(FIELDS, self._fields, self._written, strict=True):
            begin, _, step = word.partition("/")
            is_plain = word in {"*", "?"} or not set("*/") & set(word)
            in_steps = begin == "*" and step.isdigit() and int(step) < field.size
            in_list = self._either_day and field.is_of_days  # it says "or" of single days only
            yield (word if (is_plain or in_steps) and not in_list else written).upper()

    def lints(self) -> Iterator[str]:
        minute, _, day, month, _ = self._written
        for field, word in zip(FIELDS, self._fields, strict=True):
            yield from field.lints(word)
        if self._either_day:
            yield _t("Day of month and day of week are both given: it fires when either of them matches.")
        if minute == "*" and not self._fields[1].startswith("*"):
            yield _t("The minute is open and the hour is not: it fires at every minute of each of its hours.")
        months = range(1, 13) if month == "*" else map(int, month.split(","))
        if day.isdigit() and any(int(day) > DAYS_IN[each - 1] for each in months):
            yield _t("Not all of its months have a day %s; L is the last day of each.") % day

    def note(self, slot: datetime) -> str:
        local = slot.astimezone(self._zone)
        wall = local.replace(tzinfo=None)
        change = change_between(self._zone, slot - _MINUTE, slot)
        if change and change.is_gap and not self._follows_clock:
            missed = self._wall_after(change.old_wall - _MINUTE)
            if missed is not None and missed < change.new_wall:
                return words.in_a_gap(missed, wall)
        if local.fold == 1:
            return words.the_second(wall)
        if local.replace(fold=1).utcoffset() != local.utcoffset():
            return words.both_times(wall) if self._follows_clock else words.first_time(wall)
        return ""


def _reason(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).rpartition("] ")[2]
    return f"{text[:100]}." if text else "it cannot be read."

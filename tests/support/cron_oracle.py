"""What a cron expression means, told the slow way: every minute is looked at. Shares nothing with what it judges."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(_MONTHS, 1)}
WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


class Oracle:
    def __init__(self, spec: str) -> None:
        minute, self.hour, self.day, month, self.weekday = spec.lower().split()
        self.minutes = values(minute, 0, 59)
        self.hours = values(self.hour, 0, 23)
        self.months = values(month, 1, 12, MONTHS)
        self.follows_clock = self.hour[0] == "*"
        self._days: dict[date, bool] = {}

    def matches(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self.has_day(wall.date())

    def has_day(self, day: date) -> bool:
        if day not in self._days:
            self._days[day] = day.month in self.months and self._is_day(day)
        return self._days[day]

    def _is_day(self, day: date) -> bool:
        by_day = any(is_day_of_month(part, day) for part in self.day.split(","))
        by_weekday = any(is_weekday(part, day) for part in self.weekday.split(","))
        if self.day in "*?" or self.weekday in "*?":
            return by_day and by_weekday
        return by_day or by_weekday


def values(field: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    found = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if first in {"*", "?"}:
            begin, end = low, high
        else:
            begin = number(first, names)
            end = number(last, names) if last else high if step else begin
        if end < begin:  # round the end of the field
            end += high - low + 1
        size = high - low + 1
        found |= {low + (n - low) % size for n in range(begin, end + 1, int(step or 1))}
    return found


def number(word: str, names: dict[str, int] | None) -> int:
    return names[word] if names and word in names else int(word)


def is_day_of_month(part: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if part == "l":
        return day.day == last
    if "w" in part:
        return day.day == nearest_workday(day.year, day.month, min(int(part.strip("w")), last))
    return day.day in values(part, 1, 31)


def nearest_workday(year: int, month: int, wanted: int) -> int:
    last = calendar.monthrange(year, month)[1]
    workdays = [n for n in range(1, last + 1) if date(year, month, n).weekday() < 5]
    return min(workdays, key=lambda n: abs(n - wanted))


def is_weekday(part: str, day: date) -> bool:
    today = day.isoweekday() % 7
    if part[0] == "l" and part != "l":
        return today == number(part[1:], WEEKDAYS) % 7 and (day + timedelta(days=7)).month != day.month
    part, _, nth = part.partition("#")
    # Sunday may be called 7, as an end too: 5-7 is Friday to Sunday.
    wanted = {n % 7 for n in values(part, 0, 6, WEEKDAYS)}
    return today in wanted and (not nth or (day.day - 1) // 7 + 1 == int(nth))


def walls(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Every minute of ``(start, end]``, and what the clocks of ``zone`` show then."""
    instant = start.replace(second=0, microsecond=0)
    while instant < end:
        instant += MINUTE
        yield instant, instant.astimezone(zone).replace(tzinfo=None, fold=0)


def slots(oracles: list[Oracle], zone: ZoneInfo, start: datetime, end: datetime) -> list[list[datetime]]:
    """The slots of each in ``(start, end]``. There must be no change of the clocks in the day before ``start``.

    A fixed hour fires when the clocks show a time that they never reached before, for that time and for all that they
    jumped over.
    """
    found: list[list[datetime]] = [[] for _ in oracles]
    reached = start.astimezone(zone).replace(tzinfo=None, fold=0)
    for instant, wall in walls(zone, start, end):
        is_plain = wall == reached + MINUTE
        for oracle, its_slots in zip(oracles, found, strict=True):
            if oracle.follows_clock or is_plain:
                fires = oracle.matches(wall)
            else:
                fires = any(oracle.matches(reached + n * MINUTE) for n in range(1, (wall - reached) // MINUTE + 1))
            if fires:
                its_slots.append(instant)
        reached = max(reached, wall)
    return found


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> list[datetime]:
    """The hours (UTC) at whose end, or within which, the clocks of ``zone`` have changed."""
    hour, end = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year + 1, 1, 1, tzinfo=UTC)
    found = []
    while hour < end:
        before, hour = hour, hour + timedelta(hours=1)
        if before.astimezone(zone).utcoffset() != hour.astimezone(zone).utcoffset():
            found.append(before)
    return found

"""Time zones: which there are, and when their clocks change."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil, floor
from zoneinfo import ZoneInfo

from django.conf import settings

from ..exceptions import ConfigurationError, SpecError, did_you_mean

# No zone changes its clocks twice within so long (the shortest time is a week: Recife in 2000, Gaza in 2040).
STRIDE = timedelta(days=5)


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every name that a schedule may have as its time zone. Raises ConfigurationError where there are none."""
    # Links and files that are no place: "posixrules" and "localtime" depend on the machine.
    names = frozenset(zoneinfo.available_timezones()) - {"localtime", "posixrules", "Factory", "leapseconds"}
    if not names:
        raise ConfigurationError("This machine has no time zones: pip install tzdata")
    return names


def default_timezone() -> str:
    """The project's."""
    return settings.TIME_ZONE or "UTC"


@lru_cache(maxsize=1024)
def read_zone(name: str) -> ZoneInfo:
    """Raises SpecError for what is no name of a time zone."""
    if not isinstance(name, str) or name not in zone_names():
        is_short = isinstance(name, str) and len(name) <= 60  # a megabyte would be compared for half a second
        remedy = (did_you_mean(name, zone_names()) if is_short else "") or "A right one is Europe/Berlin."
        raise SpecError("timezone", f"There is no time zone {str(name)[:60]!r}. {remedy}")
    return ZoneInfo(name)


@dataclass(frozen=True, slots=True)
class Change:
    """An instant at which the clocks of a zone change, from one offset to another."""

    at: datetime  # UTC
    before: timedelta
    after: timedelta

    @property
    def old_wall(self) -> datetime:
        """What the clocks would have shown; naive. From here to ``new_wall`` a gap reaches."""
        return self.at.replace(tzinfo=None) + self.before

    @property
    def new_wall(self) -> datetime:
        """What the clocks show; naive."""
        return self.at.replace(tzinfo=None) + self.after

    @property
    def is_gap(self) -> bool:
        return self.after > self.before


def offset_at(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def change_between(zone: ZoneInfo, after: datetime, until: datetime) -> Change | None:
    """The first change of the clocks in ``(after, until]``; both in UTC."""
    at, offset = after, offset_at(zone, after)
    while at < until:
        later = min(until, at + STRIDE)
        if offset_at(zone, later) != offset:
            return _bisected(zone, at, later)
        at = later
    return None


def _bisected(zone: ZoneInfo, before: datetime, after: datetime) -> Change:
    old = offset_at(zone, before)
    # Changes happen at whole seconds; the end of the search is one of these.
    low, high = floor(before.timestamp()), ceil(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, datetime.fromtimestamp(middle, UTC)) == old:
            low = middle
        else:
            high = middle
    at = datetime.fromtimestamp(high, UTC)
    return Change(at, old, offset_at(zone, at))


def is_second_pass(zone: ZoneInfo, instant: datetime) -> bool:
    """Have the clocks shown this time once before, because they were put back?"""
    return instant.astimezone(zone).fold == 1


def first_instant(zone: ZoneInfo, wall: datetime) -> datetime:
    """When the clocks show ``wall`` (naive) first; in a gap: when the gap ends. In UTC."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    change = change_between(zone, instant - timedelta(days=2), instant + timedelta(days=2))
    return change.at if change else instant

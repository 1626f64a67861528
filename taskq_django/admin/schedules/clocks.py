"""By whose clocks the moments of a schedule are shown: its own, and the reader's where those show another time.

An interval has no clocks of its own, because it counts seconds.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo

from django.utils import timezone

from ...schedules import SpecError, read_zone


@dataclass(frozen=True, slots=True)
class Clocks:
    zone: tzinfo
    name: str

    def shows(self, moment: datetime) -> datetime:
        """``moment`` (aware) by these clocks; in the last hours of the year 9999, as it is."""
        try:
            return moment.astimezone(self.zone)
        except OverflowError:
            return moment

    def agree(self, other: Clocks, moment: datetime) -> bool:
        return self.shows(moment).utcoffset() == other.shows(moment).utcoffset()


def readers_clocks() -> Clocks:
    """Those of Django's current time zone."""
    return Clocks(timezone.get_current_timezone(), timezone.get_current_timezone_name())


def clocks_of(kind: str, zone_name: str) -> Clocks:
    """Those that a schedule is shown by: the reader's too where its own cannot be read."""
    if kind != "interval":
        with suppress(SpecError):
            return Clocks(read_zone(zone_name), zone_name)
    return readers_clocks()

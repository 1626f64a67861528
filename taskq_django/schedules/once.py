"""``2026-12-24 18:00``: one moment, by the clocks of its zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ..exceptions import SpecError
from . import words
from .base import Kind, in_utc
from .zones import first_instant

LONGEST = 40  # characters


class Once(Kind):
    def __init__(self, spec: str, zone: ZoneInfo, anchor: datetime) -> None:
        try:
            if not isinstance(spec, str) or len(spec) > LONGEST or not spec.isascii():
                raise ValueError
            given = datetime.fromisoformat(spec.strip())
        except ValueError:
            raise SpecError("spec", "A moment is written like 2026-12-24 18:00 or 2026-12-24T18:00:30.") from None
        if not 2000 <= given.year <= 9000:
            raise SpecError("spec", "The year of a moment is from 2000 to 9000.")
        self._zone = zone
        local = given.astimezone(zone) if given.tzinfo else None
        self._wall = (local or given).replace(tzinfo=None, microsecond=0, fold=0)
        self._slot = first_instant(zone, self._wall)
        digits = "seconds" if self._wall.second else "minutes"
        self.spec = self._wall.isoformat(" ", digits)
        if local is not None and local.fold:  # the second time that the clocks show this: only an offset can say so
            self.spec = local.isoformat(" ", digits)
            self._slot = local.replace(microsecond=0).astimezone(UTC)

    def next_after(self, moment: datetime) -> datetime | None:
        return self._slot if self._slot > in_utc(moment) else None

    def describe(self) -> str:
        return words.moment_in_words(self._wall)

    def note(self, slot: datetime) -> str:
        local = slot.astimezone(self._zone)
        if local.replace(tzinfo=None, fold=0) != self._wall:
            return words.in_a_gap(self._wall, local)
        if local.fold:
            return words.second_time(self._wall)
        if local.replace(fold=1).utcoffset() != local.utcoffset():
            return words.first_time(self._wall)
        return ""

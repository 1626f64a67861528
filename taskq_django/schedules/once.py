"""``2026-12-24 18:00``: one moment, by the clocks of its zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ..exceptions import SpecError
from .base import Kind
from .zones import first_instant

LONGEST = 40  # characters


class Once(Kind):
    def __init__(self, spec: str, zone: ZoneInfo, anchor: datetime) -> None:
        try:
            if not isinstance(spec, str) or len(spec) > LONGEST or not spec.isascii():
                raise ValueError
            self._given = datetime.fromisoformat(spec.strip())
        except ValueError:
            raise SpecError("spec", "A moment is written like 2026-12-24 18:00 or 2026-12-24T18:00:30.") from None
        if not 2000 <= self._given.year <= 9000:
            raise SpecError("spec", "The year of a moment is from 2000 to 9000.")
        self._zone = zone
        if self._given.tzinfo is not None:
            self._given = self._given.astimezone(zone).replace(tzinfo=None)
        self.spec = self._given.isoformat(" ", "seconds" if self._given.second else "minutes")
        self._slot = first_instant(zone, self._given.replace(fold=0))

    def next_after(self, moment: datetime) -> datetime | None:
        return self._slot if self._slot > moment.astimezone(UTC) else None

    def describe(self) -> str:
        return (
            f"Once, on {self._given:%A}, {self._given.day} {self._given:%B %Y} at {self._given:%H:%M:%S}".removesuffix(
                ":00"
            )
        )

    def note(self, slot: datetime) -> str:
        local = slot.astimezone(self._zone)
        if local.replace(tzinfo=None) != self._given:
            return f"{self._given:%H:%M} does not exist on {self._given.day} {self._given:%b}: runs at {local:%H:%M}"
        if local.replace(fold=1).utcoffset() != local.utcoffset():
            return f"{self._given:%H:%M} comes twice on {self._given.day} {self._given:%b}: runs the first time"
        return ""

"""What a schedule will do, before it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from .base import Kind
from .zones import read_zone

MOST = 50  # runs: what is computed while a page waits


@dataclass(frozen=True, slots=True)
class ComingRun:
    """One slot to come."""

    slot: datetime  # UTC
    local: datetime  # by the clocks of the schedule's zone
    note: str  # what a change of the clocks makes of it; "" for nothing
    clocks_change: bool  # the offset is another than at the run before, or at the moment of the preview


def slots_after(kind: Kind, moment: datetime, *, end: datetime | None = None) -> Iterator[datetime]:
    """The slots later than ``moment``, up to and with ``end``."""
    while (slot := kind.next_after(moment)) is not None and (end is None or slot <= end):
        yield slot
        moment = slot


def next_runs(
    kind: Kind,
    timezone: str,
    now: datetime,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    count: int = 10,
) -> list[ComingRun]:
    """The next ``count`` runs (at most 50) of a schedule that is saved at ``now``."""
    zone = read_zone(timezone)
    runs: list[ComingRun] = []
    offset = now.astimezone(zone).utcoffset()
    for slot in islice(slots_after(kind, _begin(now, start), end=end), min(count, MOST)):
        local = slot.astimezone(zone)
        runs.append(ComingRun(slot.astimezone(UTC), local, kind.note(slot), local.utcoffset() != offset))
        offset = local.utcoffset()
    return runs


def first_slot(
    kind: Kind, now: datetime, *, start: datetime | None = None, end: datetime | None = None
) -> datetime | None:
    """The first slot of a schedule that is saved at ``now``; one at ``start`` itself counts, as does one at ``end``."""
    return next(slots_after(kind, _begin(now, start), end=end), None)


def _begin(now: datetime, start: datetime | None) -> datetime:
    return now if start is None or start <= now else start - timedelta(microseconds=1)


def offset_text(local: datetime) -> str:
    """``+02:00``"""
    return local.isoformat()[-6:] if local.utcoffset() else "+00:00"

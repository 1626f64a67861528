"""The runs to come of many schedules, in their order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice

from ..models import Schedule
from ..models.moments import aware
from ..schedules import SpecError
from ..schedules.preview import ComingRun, slots_after
from ..schedules.zones import read_zone


def upcoming(database: str, now: datetime, until: datetime, *, limit: int) -> Iterator[tuple[ComingRun, Schedule]]:
    """What is enqueued from ``now`` to ``until`` if nothing is edited; ``limit`` runs at most."""
    rows = Schedule.objects.using(database).filter(enabled=True, is_finished=False)
    merged = heapq.merge(*[_runs(row, now, until) for row in rows], key=lambda each: (each[0].slot, each[1].pk))
    yield from islice(merged, limit)


def _runs(row: Schedule, now: datetime, until: datetime) -> Iterator[tuple[ComingRun, Schedule]]:
    try:
        kind, zone = row.moments, read_zone(row.timezone)
    except SpecError:
        return
    end = min(until, aware(row.end_at)) if row.end_at else until
    first = aware(row.next_run_at) if row.next_run_at else kind.next_after(now)
    left = None if row.max_runs is None else row.max_runs - row.run_count
    if first is None or first > end:
        return
    for slot in islice(chain((first,), slots_after(kind, max(first, now), end=end)), left):
        local = slot.astimezone(zone)
        yield ComingRun(slot.astimezone(UTC), local, kind.note(slot), clocks_change=False), row

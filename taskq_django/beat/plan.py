"""Which slots of a schedule that is due are to fire now. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..models import Misfire, Schedule
from ..models.moments import aware
from ..schedules import Kind
from ..schedules.preview import slots_after

FIRST_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Plan:
    fires: tuple[datetime, ...]  # the oldest first
    next_run_at: datetime | None
    missed: bool  # has what it says of missed runs been asked?


def plan(row: Schedule, now: datetime, missed_after: timedelta) -> Plan:
    """What to fire of a schedule that is due at ``now`` (aware) or was before. Raises SpecError.

    A slot is missed when it is found later than ``missed_after``. Then what the schedule says of missed runs decides
    about it and all that have passed since; otherwise each of them fires, late as it is.
    """
    kind, due, end = row.moments, aware(row.next_run_at), aware(row.end_at)
    until = now if end is None else min(now, end)
    missed = now - due > missed_after
    if not missed:
        fires = (due, *slots_after(kind, due, end=until)) if due <= until else ()
    else:
        wanted = row.misfire_cap if row.misfire == Misfire.ALL else 1
        oldest = missed_after if row.misfire == Misfire.SKIP else timedelta(seconds=row.misfire_grace)
        fires = tuple(slot for slot in latest_slots(kind, due, until, wanted) if now - slot <= oldest)
    following = kind.next_after(max(now, due))
    if following is not None and end is not None and following > end:
        following = None
    return Plan(fires, following, missed)


def latest_slots(kind: Kind, since: datetime, until: datetime, count: int) -> list[datetime]:
    """The last ``count`` slots from ``since`` to ``until``. Looks back from the end: a year may have passed."""
    window = FIRST_WINDOW
    while True:
        begin = max(since, until - window)
        found = deque(slots_after(kind, begin - timedelta(microseconds=1), end=until), maxlen=count)
        if begin == since or len(found) == count:
            return list(found)
        window *= 8

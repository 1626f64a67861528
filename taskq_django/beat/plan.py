"""Which slots of a schedule that is due are to fire now. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..models import Misfire
from ..schedules import Kind
from ..schedules.preview import slots_after

FIRST_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a schedule says of the slots that it has missed."""

    misfire: str
    grace: timedelta
    cap: int


@dataclass(frozen=True, slots=True)
class Plan:
    fires: tuple[datetime, ...]  # the oldest first
    next_run_at: datetime | None
    missed: bool  # has the policy been asked?


def plan(
    kind: Kind, due: datetime, now: datetime, policy: Policy, *, missed_after: timedelta, end: datetime | None = None
) -> Plan:
    """``due``: the slot that the schedule waits for, not later than ``now``; both aware.

    A slot is missed when it is found later than ``missed_after``. Then the policy decides about it and all that
    have passed since; otherwise each of them fires, late as it is.
    """
    until = now if end is None else min(now, end)
    missed = now - due > missed_after
    if not missed:
        fires = (due, *slots_after(kind, due, end=until)) if due <= until else ()
    else:
        wanted = policy.cap if policy.misfire == Misfire.ALL else 1
        oldest = missed_after if policy.misfire == Misfire.SKIP else policy.grace
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

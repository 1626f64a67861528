"""The sign of life of the beats of a store: one moment in its one row of its own, which each of them renews."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Subquery

from ..conf import taskq_settings
from ..models import Schedule, StoreIdentity
from ..models.moments import DatabaseNow
from .connections import own_transaction

EVERY = 10.0  # seconds between two signs of a beat
LEAST_PATIENCE = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class BeatStatus:
    """Does anybody fire the schedules of a database? One moment for all its beats: of many, some may have ended."""

    database: str
    schedules: int  # that are enabled and have not come to their end
    seen: float | None  # seconds since a beat last looked after them; None: none ever has
    alive: bool

    @property
    def is_missing(self) -> bool:
        """Do schedules wait for a beat while there is none?"""
        return self.schedules > 0 and not self.alive


def give_sign(database: str) -> None:
    with own_transaction(database):
        StoreIdentity.objects.using(database).update(beat_seen_at=DatabaseNow())


def read_sign(database: str) -> BeatStatus:
    """By one query, which reads an index.

    A beat is alive that has looked within MISSED_AFTER: what is due later than that after the last look is missed.
    """
    waiting = Schedule.objects.filter(enabled=True, is_finished=False).order_by().values("enabled")
    rows = StoreIdentity.objects.using(database).annotate(
        now=DatabaseNow(), schedules=Subquery(waiting.annotate(count=Count("pk")).values("count"))
    )
    row: Any = rows.first()
    seen_at = row and row.beat_seen_at
    seen = max(0.0, (row.now - seen_at).total_seconds()) if seen_at else None
    patience = max(LEAST_PATIENCE, taskq_settings().beat.missed_after) + EVERY
    return BeatStatus(database, (row and row.schedules) or 0, seen, alive=seen is not None and seen <= patience)

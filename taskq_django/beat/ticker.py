"""One tick: the due schedules move on to their next slot and their jobs are enqueued, in one transaction.

A row that is locked and has not changed since is ticked by one beat only; that no slot can come twice is a constraint
besides. Nothing is kept between two ticks, so there is no leader, and nothing to lose.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, connections
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, Value, When

from .. import signals
from ..conf import Beat
from ..exceptions import BrokenSchedule, BrokerUnavailable, SpecError
from ..models import Overlap, QueuedJob, Schedule, ScheduleRun
from ..models.moments import DatabaseNow, as_orm_has, aware, database_now
from ..models.schedule import slot_of_each
from ..store.connections import let_go, own_transaction
from .firing import Firing, enqueue_firings, firing_of, let_through
from .plan import Plan, plan

logger = logging.getLogger("taskq_django.beat")

CUT_OFF = (OperationalError, InterfaceError, BrokerUnavailable)
LONGEST_REASON = 2000  # characters


class Ticked(NamedTuple):
    """What a tick has done."""

    schedules: int = 0  # that have moved on
    jobs: int = 0  # that were enqueued


@dataclass(frozen=True, slots=True)
class Moved:
    """What becomes of one schedule in a tick."""

    schedule: Schedule
    next_run_at: datetime | None
    firings: tuple[Firing, ...] = ()
    broken: str = ""
    is_readable: bool = True  # else it is not known whether a slot is left

    @property
    def jobs(self) -> int:
        return sum(firing.veto is None for firing in self.firings)

    @property
    def is_finished(self) -> bool:
        return self.is_readable and self.next_run_at is None


class Ticker:
    """The schedules of one database. One thread owns it."""

    def __init__(self, database: str, settings: Beat) -> None:
        self._database = database
        self._settings = settings
        self._missed_after = timedelta(seconds=settings.missed_after)
        # By (id, version), the slot after the next. Computed between two ticks, because a tick has to be fast.
        self._following: dict[tuple[int, int], datetime | None] = {}
        self._session: Any = None  # the driver's connection of the last tick
        self._most = settings.batch  # schedules in the next one

    @property
    def _rows(self) -> QuerySet[Schedule]:
        return Schedule.objects.using(self._database).filter(enabled=True)

    def _due(self, until: Any) -> QuerySet[Schedule]:
        """Those whose next slot is not later, the first one first."""
        return self._rows.filter(next_run_at__lte=until).annotate(now=DatabaseNow()).order_by("next_run_at")

    def look_ahead(self, seconds: float) -> float | None:
        """In how many seconds the first schedule is due; None: not within ``seconds``."""
        rows: list[Any] = list(self._due(DatabaseNow(seconds))[: self._settings.batch])
        known, self._following = self._following, {}
        for row in rows:
            key = row.pk, row.version
            with suppress(SpecError):  # said when it is due
                self._following[key] = known[key] if key in known else row.moments.next_after(aware(row.next_run_at))
        return (aware(rows[0].next_run_at) - aware(rows[0].now)).total_seconds() if rows else None

    def tick(self, now: datetime | None = None) -> Ticked:
        """Fire what is due, a batch at most. Raises DatabaseError for an outage.

        When the batch fails as a whole, each is tried alone: one that cannot be fired stops no other. What another
        beat holds is left to it. ``now`` (aware) stands in for the database's clock.
        """
        tried: list[Schedule] = []
        try:
            ticked = self._tick(now, tried)
        except Exception as error:
            if not tried:
                raise
            if self._is_outage(error):
                self._suspect(tried, error)
                raise OperationalError(*error.args) from error
            if len(tried) > 1:
                return Ticked(len(tried), sum(self._tick_alone(row, now) for row in tried))
            self._mark_broken(tried[0], error)
            return Ticked(schedules=1)
        if tried:
            self._most = min(self._settings.batch, 2 * self._most)
        return ticked

    def _tick_alone(self, row: Schedule, now: datetime | None) -> int:
        try:
            return self._tick(now, [], only=row.pk).jobs
        except Exception as error:
            if self._is_outage(error):
                raise OperationalError(*error.args) from error
            self._mark_broken(row, error)
            return 0

    def _is_outage(self, error: Exception) -> bool:
        """Also when the session of the tick is over, whatever the error.

        PostgreSQL's end of a session that was idle for too long is no OperationalError, and Django opens another.
        """
        connection = connections[self._database]
        same = connection.connection is self._session
        return isinstance(error, CUT_OFF) or not same or not connection.is_usable()

    def _suspect(self, tried: Sequence[Schedule], error: Exception) -> None:
        """A batch may end its own session: it is too large, or a receiver takes too long. Then smaller ones are tried,
        and in the end one alone, which is left behind, for it would keep all others from being fired.
        """
        if self._most == 1:
            let_go(connections[self._database])
            self._mark_broken(tried[0], error)
        self._most = max(1, self._most // 2)

    def _tick(self, now: datetime | None, tried: list[Schedule], only: int | None = None) -> Ticked:
        """``tried`` gets the batch before any of it is touched."""
        with own_transaction(self._database):
            rows = self._locked(now, only)
            if not rows:
                return Ticked()
            tried += rows
            self._session = connections[self._database].connection
            # What was found due is due, even if the clock that SQLite read for ``now`` is a moment behind.
            now = max(now or aware(rows[0].now), aware(rows[-1].next_run_at))  # type: ignore[attr-defined]
            busy = self._with_a_live_job(rows)
            moved = [self._moved(row, now, is_busy=row.pk in busy) for row in rows]
            self._write_schedules(moved, now)
            firings = [firing for each in moved for firing in each.firings]
            enqueue_firings(firings, now, self._database)
        for firing in firings:
            if firing.veto is None:
                _announce(firing)
        return Ticked(len(rows), sum(each.jobs for each in moved))

    def _locked(self, now: datetime | None, only: int | None) -> list[Schedule]:
        rows = self._due(DatabaseNow() if now is None else as_orm_has(now))
        skips = connections[self._database].features.has_select_for_update_skip_locked
        rows = rows.select_for_update(skip_locked=skips)  # SQLite, where this does nothing, has locked all
        return list(rows[: self._most] if only is None else rows.filter(pk=only))

    def _with_a_live_job(self, rows: Sequence[Schedule]) -> set[int]:
        """The schedules that must not overlap, and whose last job, or the last by hand, has not ended."""
        asking = [row.pk for row in rows if row.overlap == Overlap.SKIP]
        if not asking:
            return set()
        runs = ScheduleRun.objects.filter(schedule=OuterRef("pk")).order_by("-slot").values("job_id")
        last = (
            Schedule.objects.using(self._database)
            .filter(pk__in=asking)
            .annotate(by_beat=Subquery(runs.filter(by_hand=False)[:1]), by_hand=Subquery(runs.filter(by_hand=True)[:1]))
        )
        jobs = {pk: {*found} - {None} for pk, *found in last.values_list("pk", "by_beat", "by_hand")}
        live = set(
            QueuedJob.objects.using(self._database)
            .filter(pk__in=[job for found in jobs.values() for job in found])
            .values_list("pk", flat=True)
        )
        return {pk for pk, found in jobs.items() if found & live}

    def _moved(self, row: Schedule, now: datetime, *, is_busy: bool) -> Moved:
        try:
            planned = self._plan(row, now)
        except SpecError as error:
            logger.error("Schedule %r is broken: %s", row.name, error)
            return Moved(row, None, broken=_reason(str(error)), is_readable=False)
        if planned.missed:
            logger.warning(
                "Schedule %r has missed its runs since %s (%s): %d made up for",
                row.name,
                row.next_run_at,
                row.misfire,
                len(planned.fires),
            )
        slots = planned.fires
        if row.overlap == Overlap.SKIP:
            if is_busy and slots:
                logger.info("Skipped %r, due %s: its last job has not ended", row.name, slots[0])
            slots = () if is_busy else slots[:1]
        if row.max_runs is not None:
            slots = slots[: max(0, row.max_runs - row.run_count)]
        try:
            firings = [let_through(firing_of(row, slot, self._database)) for slot in slots]
            moved = Moved(row, planned.next_run_at, tuple(firings))
        except BrokenSchedule as error:
            reason = _reason(str(error))
            if row.broken != reason:
                logger.error("Schedule %r is broken: %s", row.name, reason)
            return Moved(row, planned.next_run_at, broken=reason)
        if row.max_runs is not None and row.run_count + moved.jobs >= row.max_runs:
            return replace(moved, next_run_at=None)
        return moved

    def _plan(self, row: Schedule, now: datetime) -> Plan:
        due, end = aware(row.next_run_at), aware(row.end_at)
        following = self._following.get((row.pk, row.version))
        is_usual = following is not None and due <= now < following and now - due <= self._missed_after
        if is_usual and (end is None or following <= end):
            return Plan((due,), following, missed=False)
        return plan(row, now, self._missed_after)

    def _write_schedules(self, moved: Sequence[Moved], now: datetime) -> None:
        """The compare-and-set. The rows are locked; still, a count that is not right must not be committed."""
        alike: dict[tuple[int, str], list[Moved]] = {}
        for each in moved:
            alike.setdefault((each.jobs, each.broken), []).append(each)
        count = 0
        for (jobs, broken), group in alike.items():
            fields: dict[str, Any] = {}
            if jobs:
                fields = {"run_count": F("run_count") + jobs, "last_run_at": as_orm_has(now), "broken": ""}
            elif broken:
                fields = {"broken": broken}
            count += self._write(group, **fields)
        if count != len(moved):
            raise RuntimeError("A schedule was changed under its lock: the tick is rolled back.")

    def _write(self, moved: Sequence[Moved], **fields: Any) -> int:
        ended = [each.schedule.pk for each in moved if each.is_finished]
        following = slot_of_each({each.schedule.pk: as_orm_has(each.next_run_at) for each in moved})
        finished = Case(When(pk__in=ended, then=Value(True)), default=Value(False)) if ended else False
        rows = self._rows.filter(pk__in=[each.schedule.pk for each in moved])
        return rows.update(next_run_at=following, is_finished=finished, version=F("version") + 1, **fields)

    def _mark_broken(self, row: Schedule, error: Exception) -> None:
        """A slot that cannot be fired is left behind, with the reason; not when somebody has changed the row since."""
        slot = aware(row.next_run_at)
        if row.runs.filter(slot=row.next_run_at).exists():
            reason = row.broken  # it was fired before: the clock, or an edit, has gone back
            logger.warning("Schedule %r, due %s, was fired before", row.name, slot)
        else:
            reason = _reason(f"{type(error).__name__}: {error}")
            logger.error("Schedule %r cannot be fired: %s", row.name, reason, exc_info=error)
        following = None
        with suppress(SpecError):
            following = row.moments.next_after(max(database_now(self._database), slot))
        with own_transaction(self._database):
            self._rows.filter(pk=row.pk, version=row.version).update(
                next_run_at=as_orm_has(following), broken=reason, version=F("version") + 1
            )


def _announce(firing: Firing) -> None:
    job, schedule = firing.job, firing.schedule
    logger.info("Fired %r: %s[%s], due %s", schedule.name, job.task_path, job.id, firing.slot.isoformat(" ", "seconds"))
    signals.schedule_fired.announce(firing.task.func, schedule=schedule, slot=firing.slot, job=job)


def _reason(text: str) -> str:
    """As any database can keep it: an exception's message may hold anything."""
    return " ".join(text.replace("\0", "").split()).encode(errors="replace").decode()[:LONGEST_REASON]

"""One tick: the due schedules move on to their next slot and their jobs are enqueued, in one transaction.

A row that is locked and has not changed since is ticked by one beat only; that no slot can come twice is a constraint
besides. Nothing is kept between two ticks, so there is no leader, and nothing to lose.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, Value, When

from .. import signals
from ..brokers import own_transaction
from ..client import send
from ..clock import DatabaseNow, database_now
from ..conf import Beat
from ..exceptions import BrokenSchedule, BrokerUnavailable, SpecError
from ..handles import record_veto
from ..models import Overlap, QueuedJob, Schedule, ScheduleRun
from ..models.schedule import aware, given_back
from .firing import Firing, firing_of
from .plan import Plan, Policy, plan

logger = logging.getLogger("taskq_django.beat")


@dataclass(frozen=True, slots=True)
class Moved:
    """What becomes of one schedule in a tick."""

    schedule: Schedule
    next_run_at: datetime | None
    firings: tuple[Firing, ...] = ()
    broken: str = ""

    @property
    def jobs(self) -> int:
        return sum(firing.veto is None for firing in self.firings)


class Ticker:
    """The schedules of one database. One thread owns it."""

    def __init__(self, database: str, settings: Beat) -> None:
        self._database = database
        self._settings = settings
        self._missed_after = timedelta(seconds=settings.missed_after)
        self._following: dict[tuple[int, int], datetime | None] = {}  # (id, version): the slot after the next

    @property
    def _rows(self) -> QuerySet[Schedule]:
        return Schedule.objects.using(self._database).filter(enabled=True)

    def look_ahead(self, seconds: float) -> list[tuple[int, float]]:
        """The schedules that are due within ``seconds``, a batch at most: their ids, and in how many seconds.

        What has no slot yet (a row that ``save`` has not made) gets one.
        """
        rows = list(
            self._rows.filter(next_run_at__lte=DatabaseNow(seconds))
            .annotate(now=DatabaseNow())
            .order_by("next_run_at")[: self._settings.batch]
        )
        self._following = {}
        for row in rows:
            with suppress(SpecError):  # said when it is due
                self._following[row.pk, row.version] = row.moments.next_after(aware(row.next_run_at))
        return [(row.pk, (aware(row.next_run_at) - aware(row.now)).total_seconds()) for row in rows]

    def adopt(self, *, broken_too: bool = False) -> int:
        """Plan the rows that have no slot; returns how many. ``broken_too``: the code may have changed since."""
        rows = self._rows.filter(next_run_at=None, is_finished=False)
        count = 0
        for row in list(rows if broken_too else rows.filter(broken="")):
            try:
                row.plan_from(database_now(self._database))
            except SpecError as error:
                row.broken = str(error)
            fields = {name: getattr(row, name) for name in ("next_run_at", "is_finished", "broken")}
            seen = self._rows.filter(pk=row.pk, version=row.version)
            count += seen.update(**fields, version=F("version") + 1)
        return count

    def tick(self, ids: Collection[int]) -> int:
        """Fire what is due among these; returns how many jobs were enqueued. Raises DatabaseError for an outage.

        When the batch fails as a whole, each is tried alone: one that cannot be fired stops no other.
        """
        try:
            return self._tick(ids)
        except (OperationalError, InterfaceError, BrokerUnavailable):
            raise
        except Exception as error:
            if len(ids) == 1:
                self._mark_broken(next(iter(ids)), error)
                return 0
        return sum(self.tick([id_]) for id_ in ids)

    def _tick(self, ids: Collection[int]) -> int:
        with own_transaction(self._database):
            rows = self._locked(ids)
            if not rows:
                return 0
            now = aware(rows[0].now)  # type: ignore[attr-defined]
            busy = self._with_a_live_job(rows)
            moved = [self._moved(row, now, is_busy=row.pk in busy) for row in rows]
            self._write_schedules(moved, now)
            firings = [firing for each in moved for firing in each.firings]
            self._write_jobs(firings, now)
        for firing in firings:
            job, name = firing.job, firing.schedule.name
            logger.info("Fired %r: %s[%s], due %s", name, job.task_path, job.id, firing.slot.isoformat(" ", "seconds"))
            signals.schedule_fired.announce(
                firing.task.func, schedule=firing.schedule, slot=firing.slot, job=firing.job
            )
        return len(firings)

    def _locked(self, ids: Collection[int]) -> list[Schedule]:
        rows = self._rows.filter(pk__in=ids, next_run_at__lte=DatabaseNow()).annotate(now=DatabaseNow())
        features = connections[self._database].features
        if features.has_select_for_update:  # SQLite has locked the whole database
            rows = rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        return list(rows.order_by("next_run_at"))

    def _with_a_live_job(self, rows: Sequence[Schedule]) -> set[int]:
        """The schedules that must not overlap, and whose last job has not ended."""
        asking = [row.pk for row in rows if row.overlap == Overlap.SKIP]
        if not asking:
            return set()
        last = ScheduleRun.objects.filter(schedule=OuterRef("pk"), by_hand=False).order_by("-slot").values("job_id")[:1]
        jobs = dict(
            Schedule.objects.using(self._database)
            .filter(pk__in=asking)
            .annotate(last_job=Subquery(last))
            .values_list("pk", "last_job")
        )
        live = set(
            QueuedJob.objects.using(self._database)
            .filter(pk__in=[job for job in jobs.values() if job])
            .values_list("pk", flat=True)
        )
        return {pk for pk, job in jobs.items() if job in live}

    def _moved(self, row: Schedule, now: datetime, *, is_busy: bool) -> Moved:
        try:
            planned = self._plan(row, now)
        except SpecError as error:
            logger.error("Schedule %r is broken: %s", row.name, error)
            return Moved(row, None, broken=str(error))
        if planned.missed:
            logger.warning(
                "Schedule %r has missed its runs since %s (%s): %d made up for",
                *(row.name, row.next_run_at, row.misfire, len(planned.fires)),
            )
        slots, following = planned.fires, planned.next_run_at
        if row.overlap == Overlap.SKIP:
            if is_busy and slots:
                logger.info("Skipped %r, due %s: its last job has not ended", row.name, slots[0])
            slots = () if is_busy else slots[:1]
        if row.max_runs is not None:
            slots = slots[: max(0, row.max_runs - row.run_count)]
            if row.run_count + len(slots) >= row.max_runs:
                following = None
        try:
            return Moved(row, following, tuple(firing_of(row, slot, self._database) for slot in slots))
        except BrokenSchedule as error:
            if row.broken != str(error):
                logger.error("Schedule %r is broken: %s", row.name, error)
            return Moved(row, following, broken=str(error))

    def _plan(self, row: Schedule, now: datetime) -> Plan:
        due, end = aware(row.next_run_at), aware(row.end_at)
        following = self._following.get((row.pk, row.version))
        if following is not None and following > now and now - due <= self._missed_after:
            return Plan((due,), None if end is not None and following > end else following, missed=False)
        policy = Policy(row.misfire, timedelta(seconds=row.misfire_grace), row.misfire_cap)
        return plan(row.moments, due, now, policy, missed_after=self._missed_after, end=end)

    def _write_schedules(self, moved: Sequence[Moved], now: datetime) -> None:
        """The compare-and-set. The rows are locked; still, a count that is not right must not be committed."""
        usual = [each for each in moved if each.jobs == 1]
        count = self._write(usual, run_count=F("run_count") + 1, last_run_at=given_back(now), broken="")
        for each in moved:
            if each.jobs == 1:
                continue
            fields: dict[str, Any] = {}
            if each.jobs:
                fields = {"run_count": F("run_count") + each.jobs, "last_run_at": given_back(now), "broken": ""}
            elif each.broken:
                fields = {"broken": each.broken}
            count += self._write([each], **fields)
        if count != len(moved):
            raise RuntimeError("A schedule was changed under its lock: the tick is rolled back.")

    def _write(self, moved: Sequence[Moved], **fields: Any) -> int:
        if not moved:
            return 0
        by_next: dict[datetime | None, list[int]] = {}
        for each in moved:
            by_next.setdefault(each.next_run_at, []).append(each.schedule.pk)
        field = Schedule._meta.get_field("next_run_at")
        cases = [
            When(pk__in=ids, then=Value(given_back(slot), output_field=field)) for slot, ids in by_next.items() if slot
        ]
        ended = [each.schedule.pk for each in moved if each.next_run_at is None and not each.broken]
        following = Case(*cases, default=Value(None, output_field=field), output_field=field) if cases else None
        finished = Case(When(pk__in=ended, then=Value(True)), default=Value(False)) if ended else False
        rows = self._rows.filter(pk__in=[each.schedule.pk for each in moved], next_run_at__lte=DatabaseNow())
        return rows.update(next_run_at=following, is_finished=finished, version=F("version") + 1, **fields)

    def _write_jobs(self, firings: Sequence[Firing], now: datetime) -> None:
        for firing in firings:
            if firing.veto is not None:
                record_veto(firing.task, firing.job, firing.veto, firing.broker)
        for broker in {firing.broker.alias: firing.broker for firing in firings}.values():
            if asked := [(f.task, f.job) for f in firings if f.broker is broker and f.veto is None]:
                send(asked, broker)
        moment = given_back(now)
        ScheduleRun.objects.using(self._database).bulk_create(
            ScheduleRun(schedule=f.schedule, slot=given_back(f.slot), job_id=f.job.id, enqueued_at=moment)
            for f in firings
        )

    def _mark_broken(self, id_: int, error: Exception) -> None:
        """A slot that cannot be fired is left behind, with the reason."""
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        logger.error("Schedule %d cannot be fired: %s", id_, text, exc_info=error)
        for row in self._rows.filter(pk=id_, next_run_at__lte=DatabaseNow()):
            following = None
            with suppress(SpecError):
                following = row.moments.next_after(database_now(self._database))
            self._rows.filter(pk=id_, version=row.version).update(
                next_run_at=given_back(following), broken=text, version=F("version") + 1
            )

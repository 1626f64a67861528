"""Removes the stories of jobs that ended long ago. By index, in short transactions: nobody waits for it.

An id begins with the time of the enqueue, so the rows that can be old enough are the first ones of an index that ends
with the id. A result needs no index of its end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, Model, OuterRef, QuerySet

from ..conf import taskq_settings
from ..models import (
    CancelWish,
    JobAttempt,
    JobProgress,
    JobResult,
    QueuedJob,
    ScheduleRun,
    WorkerProcess,
    WorkerRequest,
)
from ..models.moments import DatabaseNow, as_orm_has
from ..registry import registry
from ..states import FINAL, State
from .connections import own_transaction
from .counts import prune_counts
from .stories import read_standings

AT_ONCE = 1000  # rows of one transaction
MONTH = 30 * 86_400.0  # seconds

# What there may be of a job that has left no result.
OF_JOBS: tuple[type[JobAttempt | JobProgress], ...] = (JobAttempt, JobProgress)

# By database and table, the job up to which this round has looked at those; no entry: the next round has not begun.
# Only the thread that prunes uses it.
_looked_to: dict[tuple[str, type[Model]], UUID] = {}


def prune_batch(database: str, backends: Collection[str] | None = None) -> int:
    """Remove up to AT_ONCE results, or else runs of schedules, failed attempts and progress without a story, wishes to
    cancel what has ended, requests to workers that are gone, or old counts; returns how many. ``backends``: only
    results of these, and what belongs to them.

    It looks at a bounded number of failed attempts, and the next call goes on behind them. Raises what the database
    raises.
    """
    for rows in _old(database, backends):
        ids = list(rows.values_list("id", flat=True)[:AT_ONCE])
        if ids:
            with own_transaction(database):
                # First the results: a retry that is under way has its job in the queue once their locks are free.
                JobResult.objects.using(database).filter(id__in=ids).only("id").delete()
                # An id may be in the queue too, by such a retry or by another hand: its attempts are that job's.
                live = QueuedJob.objects.using(database).filter(id=OuterRef("job_id"))
                for model in OF_JOBS:
                    theirs = model._default_manager.using(database).filter(job_id__in=ids).exclude(Exists(live))
                    theirs.only("pk").delete()
            return len(ids)
    if backends is not None:
        return 0
    kinds = (_prune_runs, _prune_orphans, _prune_wishes, _prune_requests)
    return next((removed for prune in kinds if (removed := prune(database))), 0) or prune_counts(database, AT_ONCE)


def prune_all(database: str, backends: Collection[str] | None = None) -> int:
    """Remove everything that is old, batch by batch; returns how many rows. Raises what the database raises."""
    for model in OF_JOBS:
        _looked_to.pop((database, model), None)
    count = 0
    while (removed := prune_batch(database, backends)) or any((database, model) in _looked_to for model in OF_JOBS):
        count += removed
    return count


def count_old(database: str, backends: Collection[str] | None = None) -> int:
    """How many results would be removed now."""
    return sum(rows.count() for rows in _old(database, backends))


def _old(database: str, backends: Collection[str] | None) -> Iterator[QuerySet[JobResult]]:
    """By status, and of any status for each task with ``keep_result``."""
    now = _now(database)
    kept = taskq_settings().results
    own = {task.module_path: task.keep_result for task in registry.all() if task.keep_result is not None}
    results = JobResult.objects.using(database).order_by("id")
    if backends is not None:
        results = results.filter(backend__in=backends)
    others = results.exclude(task_path__in=list(own)) if own else results
    kinds: list[tuple[QuerySet[JobResult], Any]] = [
        (others.filter(status=status), kept.keep_successes if status is State.SUCCESSFUL else kept.keep_failures)
        for status in FINAL
    ]
    kinds += [(results.filter(task_path=path), seconds) for path, seconds in own.items()]
    for rows, seconds in kinds:
        if seconds is not None:
            cut = now.timestamp() - seconds
            moment = as_orm_has(datetime.fromtimestamp(cut, UTC))
            yield rows.filter(id__lt=first_id(cut), finished_at__lt=moment)


def _prune_runs(database: str) -> int:
    """Runs of schedules whose jobs are past every retention. Their ids are in the order of time."""
    kept = taskq_settings().results
    if kept.keep_successes is None or kept.keep_failures is None:
        return 0
    cut = DatabaseNow(-max(kept.keep_successes, kept.keep_failures))
    oldest = ScheduleRun.objects.using(database).order_by("id").values_list("id", flat=True)[:AT_ONCE]
    old = list(ScheduleRun.objects.using(database).filter(id__in=list(oldest), enqueued_at__lt=cut).values_list("id"))
    with own_transaction(database):
        return ScheduleRun.objects.using(database).filter(id__in=[id_ for (id_,) in old]).delete()[0] if old else 0


def _prune_orphans(database: str) -> int:
    return sum(_prune_orphans_in(database, model) for model in OF_JOBS)


def _prune_orphans_in(database: str, model: type[JobAttempt | JobProgress]) -> int:
    """Failed attempts, or the progress, of jobs that succeeded in the end and kept no result, or were purged."""
    kept = taskq_settings().results.keep_failures
    after = _looked_to.pop((database, model), None)
    if kept is None and model is JobProgress:
        kept = MONTH  # to keep all failures is not to keep what successes without a result have left
    if kept is None:
        return 0
    rows = model._default_manager.using(database)
    old = rows.filter(job_id__lt=first_id(_now(database).timestamp() - kept))
    if after is not None:
        old = old.filter(job_id__gt=after)
    # A bounded number of rows, because to ask only for those without a story would join whole tables.
    ids = list(old.order_by("job_id").values_list("job_id", flat=True)[:AT_ONCE])
    if len(ids) == AT_ONCE:
        _looked_to[database, model] = ids[-1]
    jobs = set(map(str, ids))
    gone = jobs - read_standings(jobs, database).keys()
    if not gone:
        return 0
    with own_transaction(database):
        return rows.filter(job_id__in=gone).only("pk").delete()[0]


def _prune_wishes(database: str) -> int:
    """What ends a job removes its wish; not one that came in the last moment, or where another hand ended it."""
    wishes = CancelWish.objects.using(database)
    ended = Exists(JobResult.objects.using(database).filter(id=OuterRef("job_id")))
    ids = list(wishes.filter(ended).values_list("job_id", flat=True)[:AT_ONCE])
    kept = taskq_settings().results.keep_failures
    if not ids and kept is not None:  # a success that keeps no result has left no trace
        ids = list(wishes.filter(asked_at__lt=DatabaseNow(-kept)).values_list("job_id", flat=True)[:AT_ONCE])
    with own_transaction(database):
        return wishes.filter(job_id__in=ids).delete()[0] if ids else 0


def _prune_requests(database: str) -> int:
    there = Exists(WorkerProcess.objects.using(database).filter(id=OuterRef("worker_id")))
    ids = list(WorkerRequest.objects.using(database).exclude(there).values_list("worker_id", flat=True)[:AT_ONCE])
    with own_transaction(database):
        return WorkerRequest.objects.using(database).filter(worker_id__in=ids).delete()[0] if ids else 0


def first_id(moment: float) -> UUID:
    """The least id that a job enqueued at this moment (POSIX seconds) can have."""
    # With the bits of version 7, as every id has, because MariaDB sorts each version in its own way.
    return UUID(int=int(max(moment, 0.0) * 1000) << 80 | 0x7 << 76 | 0x2 << 62)


def _now(database: str) -> datetime:
    """The database's; one row of a table that has one, or else the clock of this process: results are older."""
    row = JobResult.objects.using(database).annotate(now=DatabaseNow()).values_list("now")[:1]
    (now,) = next(iter(row), (datetime.now(UTC),))
    return now

"""The rows of live jobs, one by one: of who rescues what runs, of who cancels or takes it, and of who looks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import uuid4

from django.db.models import Exists, F, OuterRef, QuerySet

from ...jobs import Claim, Failed, Job, Retried
from ...models import PausedQueue, QueuedJob, WorkerProcess
from ...models.indexes import Said
from ...models.moments import DatabaseNow
from ...states import WAITING, State
from ..base import Found

# How many jobs are rescued in one go; the next look takes the rest.
RESCUED_AT_ONCE = 500


def running(database: str, backend: str) -> QuerySet[QueuedJob]:
    """The running jobs of a backend, by their index."""
    return QueuedJob.objects.using(database).filter(backend=backend, status=Said(State.RUNNING))


def held_rows(database: str, ids: Collection[str], worker_id: str) -> set[str]:
    """Those of the ids whose row this process holds."""
    held = QueuedJob.objects.using(database).filter(id__in=ids, worker_id=worker_id, status=State.RUNNING)
    return {str(id_) for id_ in held.values_list("id", flat=True)}


def held(worker_ids: Collection[str], limit: int, database: str, backend: str) -> list[Found]:
    """Some of what these processes hold: to order it would read all of it."""
    jobs = running(database, backend).filter(worker_id__in=list(worker_ids))
    return [
        # Of a row by another hand the moment may be missing.
        each._replace(job=each.job._replace(started_at=row.claimed_at.timestamp() if row.claimed_at else 0.0))
        for row in jobs.defer("payload")[:limit]
        for each in [Found(job_of(row, "", row.headers), State.RUNNING, row.worker_id or "")]
    ]


def standing_in(database: str, ids: Collection[str]) -> set[str]:
    """Those of the ids whose row stands in for a message."""
    found = QueuedJob.objects.using(database).filter(id__in=ids, sender__isnull=False)
    return {str(id_) for id_ in found.values_list("id", flat=True)}


def surely_begun(outcomes: Sequence[Failed | Retried], database: str) -> list[Failed | Retried]:
    """Those of which an attempt is recorded. Not of a row that was lost with its host and still stands in for a
    message: it may not have begun, and the attempt of that number of the message would seem to have ended.
    """
    lost = [outcome.claim.job.id for outcome in outcomes if outcome.counts == "losses"]
    doubtful = standing_in(database, lost) if lost else ()
    return [outcome for outcome in outcomes if outcome.claim.job.id not in doubtful]


def stranded(jobs: QuerySet[QueuedJob]) -> QuerySet[QueuedJob]:
    """Those whose process is not registered. A process registers before it claims, so one statement cannot miss it."""
    return jobs.filter(~Exists(WorkerProcess.objects.filter(id=OuterRef("worker_id"))))


def take(id_: str, database: str, backend: str, worker_id: str) -> Claim | None:
    """Claim the row of this job, if it waits and its queue is not paused. In a transaction."""
    token, rows = uuid4(), QueuedJob.objects.using(database).filter(id=id_, backend=backend)
    paused = PausedQueue.objects.filter(backend=backend, queue_name=OuterRef("queue_name"))
    begun = {"status": State.RUNNING, "token": token, "worker_id": worker_id, "claimed_at": DatabaseNow()}
    if not rows.filter(~Exists(paused), status__in=WAITING).update(**begun, attempts=F("attempts") + 1):
        return None
    row = rows.annotate(now=DatabaseNow()).get()
    is_late = row.started_at is None and row.expires_at is not None and row.expires_at <= row.now
    return _claim_of(row, row.payload, row.headers, State.EXPIRED.value if is_late else "")


def claims_by_worker(jobs: QuerySet[QueuedJob]) -> dict[str, list[tuple[Claim, float]]]:
    """By worker id, the claims with their age in seconds; RESCUED_AT_ONCE at most.

    Without their arguments, which a rescue has no use for: five hundred may be more than there is memory.
    Whoever settles them carries the token that was seen here, so a claim that has moved on meanwhile is left alone.
    """
    found: dict[str, list[tuple[Claim, float]]] = {}
    for row in jobs.defer("payload", "headers").annotate(now=DatabaseNow())[:RESCUED_AT_ONCE]:
        if row.token is None or row.claimed_at is None:
            continue
        claim = _claim_of(row, "", "")
        age = (row.now - row.claimed_at).total_seconds()
        found.setdefault(row.worker_id or "", []).append((claim, max(0.0, age)))
    return found


def _claim_of(row: Any, payload: str, headers: str, verdict: str = "") -> Claim:
    return Claim(
        job_of(row, payload, headers),
        row.token.hex,
        max(0.0, (row.claimed_at - row.available_at).total_seconds()),  # what is taken may not be due
        verdict=State.CANCELLED.value if row.cancel_requested_at else verdict,
        has_begun=row.begun_at is not None,
    )


def job_of(row: QueuedJob, payload: str, headers: str) -> Job:
    """As a claim tells it."""
    return Job(
        id=str(row.id),
        task_path=row.task_path,
        payload=payload,
        backend=row.backend,
        queue_name=row.queue_name,
        priority=row.priority,
        headers=headers,
        tries=row.tries,
        attempts=row.attempts,
        crashes=row.crashes,
        losses=row.losses,
        enqueued_at=row.enqueued_at.timestamp(),
    )


def found(jobs: QuerySet[QueuedJob]) -> dict[str, Found]:
    return {
        str(row.id): Found(job_of(row, row.payload, row.headers), State(row.status), row.worker_id or "")
        for row in jobs
    }

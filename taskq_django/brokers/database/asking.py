"""What people ask the table of live jobs: who waits there, how many, and not to run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from uuid import uuid4

from django.db import connections, transaction
from django.db.models import Count, Min

from ...jobs import Claim, Discarded, Job
from ...models import JobResult, QueuedJob
from ...models.moments import DatabaseNow
from ...states import LIVE, WAITING, State
from ...store.dialects.vendors import dialect_of
from ...store.weights import AT_ONCE
from ..base import Cancelled, Depth
from .rows import job_of


def cancel(ids: Sequence[str], database: str, backend: str, reason: str) -> Cancelled:
    """In one transaction, so of not too many."""
    with transaction.atomic(using=database):
        rows = QueuedJob.objects.using(database).filter(id__in=ids, backend=backend)
        rows.update(cancel_requested_at=DatabaseNow())  # locks them (on SQLite: the database)
        # What is locked is read, and not what an older snapshot of the caller's transaction has seen.
        states = {str(id_): status for id_, status in rows.select_for_update().values_list("id", "status")}
        waiting = [id_ for id_, status in states.items() if status in WAITING]
        _end_as_cancelled(waiting, database, reason)
        over: frozenset[str] = frozenset()
        if left := frozenset(ids) - states.keys():
            results = JobResult.objects.using(database).filter(id__in=left, backend=backend)
            over = frozenset(map(str, results.values_list("id", flat=True)))
    ended = frozenset(waiting)
    return Cancelled(ended, frozenset(states.keys() - ended), over, left - over)


def _end_as_cancelled(ids: Sequence[str], database: str, reason: str) -> None:
    """As a worker ends what it holds: under a token. Their rows are locked."""
    if not ids:
        return
    token, now = uuid4(), monotonic()
    QueuedJob.objects.using(database).filter(id__in=ids).update(token=token)
    claims = [Claim(Job(id_, "", "", "", ""), token.hex, 0.0) for id_ in ids]
    outcomes = [Discarded(claim, now, now, State.CANCELLED, reason) for claim in claims]
    connection = connections[database]
    with connection.cursor() as cursor:
        dialect_of(connection).end(cursor, outcomes, over=True)


def depths(database: str, backend: str) -> list[Depth]:
    """By a query for each status, which reads the index of it and, but for what runs, no row."""
    found: dict[str, Depth] = {}
    for state in LIVE:
        jobs = QueuedJob.objects.using(database).filter(backend=backend, status=state).values("queue_name")
        counted = jobs.annotate(count=Count("pk"), oldest=Min("available_at"), now=DatabaseNow())
        for queue, count, oldest, now in counted.values_list("queue_name", "count", "oldest", "now"):
            depth = found.get(queue, Depth(queue))
            if state is State.READY:
                found[queue] = replace(depth, ready=count, oldest=max(0.0, (now - oldest).total_seconds()))
            elif state is State.RUNNING:
                found[queue] = replace(depth, running=count)
            else:
                found[queue] = replace(depth, scheduled=count)
    return [found[queue] for queue in sorted(found)]


def next_in(queue_name: str, limit: int, database: str, backend: str) -> list[Job]:
    ready = QueuedJob.objects.using(database).filter(backend=backend, queue_name=queue_name, status=State.READY)
    return [job_of(row, row.payload, row.headers) for row in ready.order_by("rank", "available_at", "id")[:limit]]


def remove_waiting(queue_name: str, database: str, backend: str) -> int:
    """Up to AT_ONCE of the jobs of a queue that have not begun; returns how many."""
    waiting = QueuedJob.objects.using(database).filter(backend=backend, queue_name=queue_name, status__in=WAITING)
    ids = list(waiting.values_list("id", flat=True)[:AT_ONCE])
    # Of a project's receivers that hear every deletion, none needs the texts of what is gone.
    return waiting.filter(id__in=ids).only("id").delete()[0]

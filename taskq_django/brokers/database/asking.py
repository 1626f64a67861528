"""What people ask the table of live jobs: who waits there, how many, and not to run them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import uuid4

from django.db import connections, transaction
from django.db.models import Count, F, Max, Min, QuerySet

from ...jobs import Claim, Discarded, Job
from ...models import JobResult, QueuedJob
from ...models.indexes import Said
from ...models.moments import DatabaseNow, as_orm_has, database_now
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


def reschedule(ids: Collection[str], database: str, backend: str, due: datetime | None) -> frozenset[str]:
    """Not of rows that stand in for a message: it is due already."""
    with transaction.atomic(using=database):
        now = database_now(database)
        begins = now if due is None else max(due, now)
        is_ready = begins == now
        rows = QueuedJob.objects.using(database).filter(id__in=ids, backend=backend, sender__isnull=True)
        rows = rows.filter(status__in=[State.SCHEDULED] if is_ready else WAITING)
        rows.update(status=F("status"))  # locks them, as in ``cancel``
        waiting = list(rows.select_for_update().only("run_after", "enqueued_at", "expires_at"))
        rows.filter(id__in=[row.id for row in waiting]).update(
            status=State.READY if is_ready else State.SCHEDULED,
            available_at=as_orm_has(begins),
            run_after=as_orm_has(due),
        )
        for row in waiting:
            if row.expires_at is not None:
                patience = row.expires_at - max(row.run_after or row.enqueued_at, row.enqueued_at)
                moved = QueuedJob.objects.using(database).filter(id=row.id)
                moved.update(expires_at=as_orm_has(begins) + patience)
        if waiting and is_ready:
            connection = connections[database]
            with connection.cursor() as cursor:
                dialect_of(connection).ring(cursor)
    return frozenset(str(row.id) for row in waiting)


def depths(database: str, backend: str) -> list[Depth]:
    """By a part of one query for each status, which reads the index of it and, but for what runs, no row."""
    first, *others = (_depths_in(state, database, backend) for state in LIVE)
    found: dict[str, Depth] = {}
    for status, queue, count, oldest, now in first.union(*others, all=True):
        depth = found.get(queue, Depth(queue))
        if status == State.READY:
            found[queue] = replace(depth, ready=count, oldest=max(0.0, (now - oldest).total_seconds()))
        elif status == State.RUNNING:
            found[queue] = replace(depth, running=count)
        else:
            found[queue] = replace(depth, scheduled=count)
    return [found[queue] for queue in sorted(found)]


def _depths_in(state: State, database: str, backend: str) -> QuerySet[QueuedJob, Any]:
    jobs = QueuedJob.objects.using(database).filter(backend=backend, status=Said(state)).values("queue_name")
    # The moment as an aggregate, because SQLite would group by it, and sort every row for that.
    counted = jobs.annotate(count=Count("pk"), oldest=Min("available_at"), now=Max(DatabaseNow()))
    return counted.values_list(Said(state), "queue_name", "count", "oldest", "now")


def next_in(queue_name: str, limit: int, database: str, backend: str) -> list[Job]:
    ready = QueuedJob.objects.using(database).filter(backend=backend, queue_name=queue_name, status=State.READY)
    return [job_of(row, row.payload, row.headers) for row in ready.order_by("rank", "available_at", "id")[:limit]]


def remove_waiting(queue_name: str, database: str, backend: str) -> int:
    """Up to AT_ONCE of the jobs of a queue that have not begun; returns how many."""
    waiting = QueuedJob.objects.using(database).filter(backend=backend, queue_name=queue_name, status__in=WAITING)
    ids = list(waiting.values_list("id", flat=True)[:AT_ONCE])
    # Of a project's receivers that hear every deletion, none needs the texts of what is gone.
    return waiting.filter(id__in=ids).only("id").delete()[0]

"""What people do to jobs: cancel, retry, pause, purge. Every door (Result, commands, admin) comes through here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, IntegerField, QuerySet
from django.db.models.sql.compiler import SQLCompiler

from .brokers import Broker
from .conf import queue_name_problem
from .exceptions import ConfigurationError
from .jobs import Claim, Discarded, Job, is_id
from .models import JobResult, PausedQueue, QueuedJob
from .models.moments import DatabaseNow
from .states import WAITING, State
from .store.connections import replace_lost
from .store.dialects.vendors import dialect_of
from .store.weights import cut

# Rows of one transaction, or fewer that are heavy: its locks are held for some milliseconds.
AT_ONCE = 500

REOPENED = (State.FAILED, State.CANCELLED, State.EXPIRED)


class Octets(Func):
    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The ids of the jobs that somebody wanted to cancel, by what came of it."""

    ended: frozenset[str]  # they waited, and are CANCELLED
    asked: frozenset[str]  # they run, and their worker ends them within seconds
    ended_before: frozenset[str]  # they had ended already, and their result is kept
    unknown: frozenset[str]  # there is none of that id, or none any more


def cancel(ids: Iterable[str], database: str, *, reason: str = "") -> Cancelled:
    """End the waiting jobs among these at once, and ask the workers of the running ones to end them."""
    ended: set[str] = set()
    asked: set[str] = set()
    ended_before: set[str] = set()
    wanted = _known_ids(ids)
    replace_lost(database)
    for group in _groups(wanted, QueuedJob, database):
        with transaction.atomic(using=database):
            rows = QueuedJob.objects.using(database).filter(id__in=group)
            rows.update(cancel_requested_at=DatabaseNow())  # locks them (on SQLite: the database)
            # What is locked is read, and not what an older snapshot of the caller's transaction has seen.
            states = {str(id_): status for id_, status in rows.select_for_update().values_list("id", "status")}
            waiting = [id_ for id_, status in states.items() if status in WAITING]
            _end_as_cancelled(waiting, database, reason)
            ended.update(waiting)
            asked.update(states.keys() - ended)
            if left := set(group) - ended - asked:
                found = JobResult.objects.using(database).filter(id__in=left)
                ended_before.update(map(str, found.values_list("id", flat=True)))
    unknown = frozenset(wanted) - ended - asked - ended_before
    return Cancelled(frozenset(ended), frozenset(asked), frozenset(ended_before), unknown)


def retry(ids: Iterable[str], broker: Broker) -> frozenset[str]:
    """Run these jobs of the broker again that ended without success; returns the ids of those that do.

    They keep their id and the story of their attempts, and wait as if enqueued now: with all their tries before them,
    without the ``run_after`` and the expiry of their first life.
    """
    again: set[str] = set()
    database = broker.database
    replace_lost(database)
    for group in _groups(_known_ids(ids), JobResult, database):
        with transaction.atomic(using=database):
            results = JobResult.objects.using(database)
            found = results.filter(id__in=group, backend=broker.alias, status__in=REOPENED)
            found.update(status=F("status"))  # locks them (on SQLite: the database)
            # As in cancel: by an older snapshot a job could seem FAILED that has run again and succeeded since.
            if rows := list(found.defer("return_value", "message").select_for_update()):
                live = set(QueuedJob.objects.using(database).filter(id__in=group).values_list("id", flat=True))
                if ended := [row for row in rows if row.id not in live]:  # the others wait or run already
                    broker.send([_job_of(row) for row in ended])
                results.filter(id__in=[row.id for row in rows]).delete()
                again.update(str(row.id) for row in rows)
    return frozenset(again)


def _job_of(row: JobResult) -> Job:
    return Job(
        str(row.id),
        row.task_path,
        row.payload,
        row.backend,
        row.queue_name,
        row.priority,
        row.headers,
        attempts=row.attempts,
        enqueued_at=row.enqueued_at.timestamp(),
        started_at=row.started_at.timestamp() if row.started_at else 0.0,
    )


def pause(queue_name: str, broker: Broker) -> bool:
    """Let the jobs of a queue wait; what runs goes on. False: it was paused already."""
    _check(queue_name)
    replace_lost(broker.database)
    _, made = PausedQueue.objects.using(broker.database).get_or_create(backend=broker.alias, queue_name=queue_name)
    return made


def resume(queue_name: str, broker: Broker) -> bool:
    """Let workers claim from the queue again. False: it was not paused."""
    _check(queue_name)
    replace_lost(broker.database)
    paused = PausedQueue.objects.using(broker.database).filter(backend=broker.alias, queue_name=queue_name)
    return bool(paused.delete()[0])


def waiting_in(queue_name: str, broker: Broker) -> QuerySet[QueuedJob]:
    """The jobs of a queue that have not begun."""
    _check(queue_name)
    return QueuedJob.objects.using(broker.database).filter(
        backend=broker.alias, queue_name=queue_name, status__in=WAITING
    )


def purge(queue_name: str, broker: Broker) -> int:
    """Remove the jobs of a queue that have not begun, without a trace; returns how many."""
    count = 0
    replace_lost(broker.database)
    while ids := list(waiting_in(queue_name, broker).values_list("id", flat=True)[:AT_ONCE]):
        # Of a project's receivers that hear every deletion, none needs the texts of what is gone.
        count += waiting_in(queue_name, broker).filter(id__in=ids).only("id").delete()[0]
    return count


def stored_id(id_: str) -> str:
    """As it is stored, however somebody has spelled it; what can be no id is returned as it is."""
    return str(UUID(id_)) if is_id(id_) else id_


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


def _known_ids(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(stored_id(id_) for id_ in map(str, ids) if is_id(id_)))


def _groups(ids: Iterable[str], model: type[QueuedJob | JobResult], database: str) -> Iterator[Sequence[str]]:
    """By count, and by the arguments of those that are in the table of ``model``, which are read and written again."""
    rest = iter(ids)
    while group := list(islice(rest, AT_ONCE)):
        if len(group) == 1:
            yield group
            continue
        rows = model._default_manager.using(database).filter(id__in=group)
        weights = {str(id_): weight for id_, weight in rows.values_list("id", Octets("payload") + Octets("headers"))}
        yield from cut(group, [weights.get(id_, 0) for id_ in group])


def _check(queue_name: str) -> None:
    if problem := queue_name_problem(queue_name):
        raise ConfigurationError(problem)

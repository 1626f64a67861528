"""What people do to jobs, queues and workers. Every door (Result, commands, admin) comes through here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from django.db import transaction
from django.db.models import F

from .brokers import Broker
from .brokers.base import Cancelled
from .conf import queue_name_problem
from .exceptions import ArgumentError, BrokerError, ConfigurationError
from .jobs import Job, is_id
from .models import JobAttempt, JobProgress, JobResult, PausedQueue, QueuedJob, Request, WorkerProcess, WorkerRequest
from .models.moments import DatabaseNow
from .states import State
from .store.connections import own_transaction, replace_lost
from .store.stories import read_standings
from .store.weights import AT_ONCE, light_groups

# When a job may be due. What expires does so up to a hundred years later, and the calendar ends with the year 9999.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9900, 1, 1, tzinfo=UTC)
REOPENED = (State.FAILED, State.CANCELLED, State.EXPIRED)


def cancel(ids: Iterable[str], broker: Broker, *, reason: str = "") -> Cancelled:
    """End those of the broker's jobs that wait at once, and ask the workers of the others to end them."""
    return broker.cancel(_known_ids(ids), reason)


def retry(ids: Iterable[str], broker: Broker) -> frozenset[str]:
    """Run these jobs of the broker again that ended without success; returns the ids of those that do.

    They keep their id and the story of their attempts, and wait as if enqueued now: with all their tries before them,
    without the ``run_after`` and the expiry of their first life.
    """
    again: set[str] = set()
    database = broker.database
    replace_lost(database)
    for group in light_groups(_known_ids(ids), JobResult.objects.using(database)):
        with transaction.atomic(using=database):
            results = JobResult.objects.using(database)
            found = results.filter(id__in=group, backend=broker.alias, status__in=REOPENED)
            found.update(status=F("status"))  # locks them (on SQLite: the database)
            # As in cancel: by an older snapshot a job could seem FAILED that has run again and succeeded since.
            if rows := list(found.defer("return_value", "message").select_for_update()):
                live = set(QueuedJob.objects.using(database).filter(id__in=group).values_list("id", flat=True))
                if ended := [row for row in rows if row.id not in live]:  # the others wait or run already
                    broker.send([_job_of(row) for row in ended], in_store=True)
                results.filter(id__in=[row.id for row in rows]).delete()
                again.update(str(row.id) for row in rows)
    return frozenset(again)


def reschedule(ids: Iterable[str], broker: Broker, due: datetime | None = None) -> frozenset[str]:
    """Let these jobs of the broker run at that moment (aware), or now; returns the ids of those that will.

    Jobs that wait in the store, that is: scheduled and retried ones, and on the database broker every one that is
    ready. Now means those whose time has not come; a ready one keeps its place. Raises ArgumentError for a moment that
    is none of this age: what has passed is now, but a year that is nonsense was meant otherwise.
    """
    if due is not None and not EARLIEST <= due < LATEST:
        raise ArgumentError(
            f"control.reschedule: due is {due.isoformat()}; give a moment from {EARLIEST.year} to {LATEST.year - 1}, "
            "or None for now."
        )
    moved: set[str] = set()
    for group in _groups(ids):
        moved |= broker.reschedule(group, due)
    return frozenset(moved)


def delete(ids: Iterable[str], broker: Broker) -> frozenset[str]:
    """Remove the results of these jobs of the broker, with their attempts; returns the ids of those that are gone.

    What waits or runs is left alone: it can be cancelled first.
    """
    gone: set[str] = set()
    database = broker.database
    replace_lost(database)
    for group in _groups(ids):
        with transaction.atomic(using=database):
            results = JobResult.objects.using(database).filter(id__in=group, backend=broker.alias)
            results.update(status=F("status"))  # locks them: a retry that is under way has its job in the queue then
            found = set(results.values_list("id", flat=True))
            # As in ``pruning``: an id that is in the queue too has attempts that are that job's.
            live = QueuedJob.objects.using(database).filter(id__in=found).values_list("id", flat=True)
            for model in (JobAttempt, JobProgress):
                theirs = model._default_manager.using(database).filter(job_id__in=found - set(live))
                theirs.only("pk").delete()
            results.filter(id__in=found).only("id").delete()
        gone.update(map(str, found))
    return frozenset(gone)


def states_of(ids: Iterable[str], broker: Broker) -> dict[str, str]:
    """Where these jobs stand, as far as the store and the broker can tell; one that neither knows is left out."""
    states: dict[str, str] = {}
    for group in _groups(ids):
        states |= {id_: standing.status for id_, standing in read_standings(group, broker.database).items()}
        if left := set(group) - states.keys():
            with suppress(BrokerError):  # an engine that is away; the store has answered
                states |= {id_: found.state for id_, found in broker.find(left).items()}
    return states


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


def pause(queue_name: str, broker: Broker, *, reason: str = "", seconds: float | None = None) -> bool:
    """Let the jobs of a queue wait; what runs goes on. ``seconds``: until it goes on by itself; None: for good.

    False: it was paused already. Then the reason and the end are these from now on.
    """
    _check(queue_name)
    replace_lost(broker.database)
    given = {"reason": reason[:200], "until": None if seconds is None else DatabaseNow(seconds)}
    paused = PausedQueue.objects.using(broker.database).filter(backend=broker.alias, queue_name=queue_name)
    with transaction.atomic(using=broker.database):
        if paused.update(**given):  # first, because SQLite lets nobody write who has read before another's write
            return False
        return paused.update_or_create(backend=broker.alias, queue_name=queue_name, defaults=given)[1]


def end_pauses(database: str) -> int:
    """Resume the queues whose pause has come to its end; returns how many. A worker's own, so it looks first."""
    over = PausedQueue.objects.using(database).filter(until__lte=DatabaseNow())
    if not (ids := list(over.values_list("id", flat=True))):
        return 0
    with own_transaction(database):
        return over.filter(id__in=ids).delete()[0]


def resume(queue_name: str, broker: Broker) -> bool:
    """Let workers claim from the queue again. False: it was not paused."""
    _check(queue_name)
    replace_lost(broker.database)
    paused = PausedQueue.objects.using(broker.database).filter(backend=broker.alias, queue_name=queue_name)
    return bool(paused.delete()[0])


def count_waiting(queue_name: str, broker: Broker) -> int:
    """How many jobs of a queue have not begun."""
    _check(queue_name)
    return sum(queue.ready + queue.scheduled for queue in broker.depth() if queue.queue_name == queue_name)


def purge(queue_name: str, broker: Broker) -> int:
    """Remove the jobs of a queue that have not begun, without a trace; returns how many."""
    _check(queue_name)
    return broker.purge(queue_name)


def ask_worker(worker_id: str, request: Request | None, database: str) -> bool:
    """Have a worker be quiet or stop with its next sign of life; None: go on serving.

    False: there is none of that id, or it is of a release that reads no requests. One that stops cannot be asked to
    go on.
    """
    replace_lost(database)
    with transaction.atomic(using=database):
        asked = WorkerRequest.objects.using(database)
        asked.filter(worker_id=worker_id).update(request=F("request"))  # locks it (on SQLite: the database)
        if not WorkerProcess.objects.using(database).filter(id=worker_id, supervisor=None).exclude(state="").exists():
            return False
        if request is None:
            asked.filter(worker_id=worker_id).exclude(request=Request.STOP).delete()
        else:
            given = {"request": request, "asked_at": DatabaseNow()}
            if not asked.filter(worker_id=worker_id).exclude(request=Request.STOP).update(**given):
                asked.get_or_create(worker_id=worker_id, defaults=given)
    return True


def stored_id(id_: str) -> str:
    """As it is stored, however somebody has spelled it; what can be no id is returned as it is."""
    return str(UUID(id_)) if is_id(id_) else id_


def _known_ids(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(stored_id(id_) for id_ in map(str, ids) if is_id(id_)))


def _groups(ids: Iterable[str]) -> Iterator[list[str]]:
    """Of one transaction each."""
    rest = iter(_known_ids(ids))
    while group := list(islice(rest, AT_ONCE)):
        yield group


def _check(queue_name: str) -> None:
    if problem := queue_name_problem(queue_name):
        raise ConfigurationError(problem)

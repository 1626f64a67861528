"""What people do to jobs: cancel, retry, pause, purge. Every door (Result, commands, admin) comes through here."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction
from django.db.models import F

from .brokers import Broker
from .brokers.base import Cancelled
from .conf import queue_name_problem
from .exceptions import ConfigurationError
from .jobs import Job, is_id
from .models import JobResult, PausedQueue, QueuedJob
from .states import State
from .store.connections import replace_lost
from .store.weights import light_groups

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


def count_waiting(queue_name: str, broker: Broker) -> int:
    """How many jobs of a queue have not begun."""
    _check(queue_name)
    return sum(queue.ready + queue.scheduled for queue in broker.depth() if queue.queue_name == queue_name)


def purge(queue_name: str, broker: Broker) -> int:
    """Remove the jobs of a queue that have not begun, without a trace; returns how many."""
    _check(queue_name)
    return broker.purge(queue_name)


def stored_id(id_: str) -> str:
    """As it is stored, however somebody has spelled it; what can be no id is returned as it is."""
    return str(UUID(id_)) if is_id(id_) else id_


def _known_ids(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(stored_id(id_) for id_ in map(str, ids) if is_id(id_)))


def _check(queue_name: str) -> None:
    if problem := queue_name_problem(queue_name):
        raise ConfigurationError(problem)

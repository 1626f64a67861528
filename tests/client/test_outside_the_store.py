"""Handles of jobs that may wait where no table has them, and which jobs must wait in the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from taskq_django.beat.firing import run_now
from taskq_django.beat.ticker import Ticker
from taskq_django.brokers import Broker
from taskq_django.brokers.base import Found
from taskq_django.compat import TaskResultDoesNotExist, task_backends
from taskq_django.conf import Beat
from taskq_django.exceptions import ResultTimeout
from taskq_django.jobs import Job
from taskq_django.models import QueuedJob, Schedule
from taskq_django.models.moments import database_now
from taskq_django.states import State
from tests.app import tasks
from tests.support.sending import job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> Broker:
    return task_backends["default"].broker  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def outside(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> dict[str, Found]:
    """What waits or runs outside the store."""
    found: dict[str, Found] = {}
    monkeypatch.setattr(broker, "find", lambda ids: {id_: found[id_] for id_ in ids if id_ in found})
    return found


def test_a_job_that_waits_outside_the_store_has_a_result(outside: dict[str, Found]) -> None:
    waits = job(enqueued_at=1_700_000_000.25, headers='{"metadata":{"a":1}}', priority=7, queue_name="mail")
    outside[waits.id] = Found(waits, State.READY)

    result = task_backends["default"].get_result(waits.id)

    assert (result.state, result.status, result.args, result.worker_ids) == (State.READY, "READY", [1], [])
    assert (result.task.func, result.task.priority, result.task.queue_name) == (tasks.add.func, 7, "mail")
    assert (result.metadata, result.errors, result.started_at) == ({"a": 1}, [], None)
    assert result.enqueued_at == datetime.fromtimestamp(waits.enqueued_at, UTC)


def test_a_job_that_runs_outside_the_store_says_where(outside: dict[str, Found]) -> None:
    runs = job(enqueued_at=1_700_000_000.25)
    outside[runs.id] = Found(runs, State.RUNNING, "w1")
    result = task_backends["default"].get_result(runs.id)
    assert (result.state, result.worker_ids, result.attempts) == (State.RUNNING, ["w1"], 1)


def test_results_of_both_places_come_in_the_order_of_their_ids(outside: dict[str, Found]) -> None:
    stored, waits = tasks.add.enqueue(1), job(enqueued_at=1_700_000_000.25)
    outside[waits.id] = Found(waits, State.READY)
    found = task_backends["default"].get_results([waits.id, job().id, stored.id])  # type: ignore[attr-defined]
    assert [result.id for result in found] == [waits.id, stored.id]


def test_a_job_that_moves_into_the_store_while_it_is_looked_for_is_found(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = job()

    def find(ids: Collection[str]) -> dict[str, Found]:
        broker.send([moves])
        return {}

    monkeypatch.setattr(broker, "find", find)
    assert task_backends["default"].get_result(moves.id).state is State.READY


def test_a_handle_that_was_sent_stays_ready_where_nobody_can_look_for_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tasks.add.enqueue(1)
    QueuedJob.objects.all().delete()
    monkeypatch.setattr(broker, "finds_waiting", False)

    result.refresh()
    async_to_sync(result.arefresh)()

    assert result.state is State.READY
    with pytest.raises(ResultTimeout):
        result.get(timeout=0.01)
    with transaction.atomic(), pytest.raises(ResultTimeout):
        result.get()
    assert not result.cancel()
    broker.send([job(id=result.id)])
    broker.claim(["default"], 1, "w1")
    result.refresh()
    assert result.state is State.RUNNING
    QueuedJob.objects.all().delete()
    with pytest.raises(TaskResultDoesNotExist):  # it has begun, so it waits nowhere
        result.refresh()


def test_a_handle_of_a_job_that_is_found_nowhere_raises_where_it_could_be_found() -> None:
    result = tasks.add.enqueue(1)
    QueuedJob.objects.all().delete()
    for act in (result.refresh, result.get, result.cancel):
        with pytest.raises(TaskResultDoesNotExist):
            act()


@pytest.fixture
def sent(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each ``send``: must it be in the store?"""
    seen: list[bool] = []
    send = broker.send

    def note(jobs: Sequence[Job], in_store: bool = False) -> Any:
        seen.append(in_store)
        return send(jobs, in_store)

    monkeypatch.setattr(broker, "send", note)
    return seen


def test_what_must_not_begin_twice_waits_in_the_store(sent: list[bool]) -> None:
    tasks.add.enqueue(1)
    tasks.add.enqueue_many([(1,), (2,)])
    tasks.die_once.enqueue()
    tasks.die_once.enqueue_many([(), ()])
    assert sent == [False, False, True, True]


def test_what_is_retried_by_hand_or_made_by_a_schedule_waits_in_the_store(sent: list[bool]) -> None:
    result = tasks.add.enqueue(1)
    result.cancel()
    result.retry()
    row = Schedule.objects.create(name="nightly", task_path="tests.app.tasks.add", args=[1], spec="0 3 * * *")
    run_now(row, "default")
    Schedule.objects.update(next_run_at=database_now("default") - timedelta(seconds=1))
    assert Ticker("default", Beat()).tick().jobs == 1
    assert sent == [False, True, True, True]

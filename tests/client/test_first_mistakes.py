"""The first mistakes that people make in Python: each is answered by its remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from taskq_django import compat
from taskq_django.compat import InvalidTask, task_backends
from taskq_django.exceptions import ResultTimeout
from taskq_django.testing import run_all
from taskq_django.worker.lease import Lease
from tests.app import plain, tasks

pytestmark = pytest.mark.once

# --- run_after --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("task", [tasks.add, plain.double])
@pytest.mark.parametrize("seconds", [60, 60.5, timedelta(minutes=1)])
def test_run_after_takes_seconds(task: Any, seconds: Any) -> None:
    sent = task.using(run_after=seconds).enqueue(1)
    sent.refresh()

    wanted = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
    assert sent.state == "SCHEDULED"
    assert sent.task.run_after == sent.enqueued_at + wanted
    assert run_all() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("past", [0, -5, -0.5, timedelta(seconds=-1), datetime(2020, 1, 1, tzinfo=UTC)], ids=str)
def test_a_time_that_is_past_is_now(past: Any) -> None:
    sent = tasks.add.using(run_after=past).enqueue(1)
    assert run_all() == 1
    assert sent.get() == 3


@pytest.mark.parametrize(
    "wrong", ["60", "tomorrow", True, b"60", [60], date(2030, 1, 1), float("nan"), float("inf"), 10**400, 1e308, 4e9]
)
def test_what_is_no_time_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(InvalidTask, match=r"run_after must be a datetime, a timedelta or a number of seconds"):
        tasks.add.using(run_after=wrong)


def test_a_task_of_the_frameworks_own_class_is_told_too() -> None:
    given = {"priority": 0, "queue_name": "default", "takes_context": False, "backend": "default"}
    with pytest.raises(InvalidTask, match="run_after must be a datetime or a timedelta, not 60"):
        compat.Task(func=plain.triple, run_after=60, **given)


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_who_waits_in_vain_is_told_that_no_worker_is_alive() -> None:
    sent = tasks.add.enqueue(1)

    with pytest.raises(
        ResultTimeout, match=r"after 0\.01 s\. No worker is alive: .*taskq_worker`\. In a test, call .*run_all"
    ):
        sent.get(timeout=timedelta(seconds=0.01))
    with pytest.raises(ResultTimeout, match="No worker is alive"):
        async_to_sync(sent.aget)(timeout=0.01)


@pytest.mark.django_db(transaction=True)
def test_while_a_worker_is_alive_nothing_is_said_of_it() -> None:
    Lease("worker", "default", every=60, lasts=180, described={}).register("worker")
    with pytest.raises(ResultTimeout) as error:
        tasks.add.enqueue(1).get(timeout=0)
    assert str(error.value).endswith("has not ended after 0 s.")


@pytest.mark.django_db
def test_who_waits_within_a_test_case_is_told_of_run_all() -> None:
    with (
        transaction.atomic(),
        pytest.raises(ResultTimeout, match=r"after the atomic block\. In a test, call .*run_all"),
    ):
        tasks.add.enqueue(1).get(timeout=5)


# --- coroutines -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("call", "twin"),
    [
        (lambda sent: tasks.add.enqueue(1), "aenqueue"),
        (lambda sent: tasks.add.delay(1), "aenqueue"),
        (lambda sent: plain.double.enqueue(1), "aenqueue"),
        (lambda sent: tasks.add.enqueue_many([(1,)]), "aenqueue_many"),
        (lambda sent: sent.refresh(), "arefresh"),
        (lambda sent: sent.get(timeout=1), "aget"),
        (lambda sent: sent.cancel(), "acancel"),
        (lambda sent: sent.retry(), "aretry"),
        (lambda sent: tasks.add.get_result(sent.id), "aget_result"),
        (lambda sent: task_backends["default"].get_results([sent.id]), "aget_results"),  # type: ignore[attr-defined]
    ],
)
def test_in_a_coroutine_the_async_twin_is_named(call: Callable[[Any], Any], twin: str) -> None:
    sent = tasks.add.enqueue(1)

    async def coroutine() -> None:
        call(sent)

    with pytest.raises(SynchronousOnlyOperation, match=rf"write `await ….{twin}\(…\)`"):
        async_to_sync(coroutine)()

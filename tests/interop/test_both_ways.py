"""A Celery app and a project of ours on one Redis, both with a client and a worker of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from taskq_django import task
from taskq_django.backend import TaskqBackend
from taskq_django.brokers import broker_for
from taskq_django.exceptions import ArgumentError
from taskq_django.models import JobResult, QueuedJob
from taskq_django.results import Result
from tests.app.tasks import add, echo
from tests.interop.conftest import CeleryWorker
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, wait_for

ADD, ECHO = "tests.app.tasks.add", "tests.app.tasks.echo"


def result(id_: str) -> JobResult:
    wait_for(lambda: JobResult.objects.filter(id=id_).exists(), what=lambda: str(list(QueuedJob.objects.values())))
    return JobResult.objects.get(id=id_)


def handle(id_: str) -> Result[Any]:
    found: Result[Any] = add.get_backend().get_result(id_)
    return found


# --- Celery's client, our worker ---------------------------------------------------------------------------------


def test_our_worker_runs_what_a_client_of_celery_sends(
    send: Callable[..., str], start_worker: Callable[..., RealWorker]
) -> None:
    typed = [datetime(2026, 1, 2, tzinfo=UTC), date(2026, 1, 2), Decimal("1.10"), UUID(int=5), b"\xff", "é", None]
    ids = {
        send(ADD, 1, kwargs={"y": 5}): 6,
        send(ADD, 1, priority=9): 3,
        send(ADD, 2, expires=60): 4,
        send(ECHO, typed): typed,
        send("legacy.tasks.total", 1, 2, 3): 6,
        send(ADD, 7, queue="celery"): 9,
    }
    worker = start_worker()

    assert {id_: result(id_).status for id_ in ids} == dict.fromkeys(ids, "SUCCESSFUL"), worker.output
    assert {id_: handle(id_).return_value for id_ in ids} == ids


def test_a_countdown_is_kept_and_a_job_that_is_too_late_expires(
    send: Callable[..., str], start_worker: Callable[..., RealWorker]
) -> None:
    began = datetime.now(UTC)
    soon, at, late = (
        send(ADD, 1, countdown=2),
        send(ADD, 2, eta=began + timedelta(seconds=2)),
        send(ADD, 3, expires=0.01),
    )
    far = send(ADD, 4, countdown=3600, expires=7200)
    end = datetime(9999, 12, 31, tzinfo=UTC)
    last = send(ADD, 5, eta=end, expires=end)
    start_worker()

    for id_ in (soon, at):
        assert result(id_).status == "SUCCESSFUL"
        assert result(id_).started_at >= began + timedelta(seconds=2)  # type: ignore[operator]
    assert result(late).status == "EXPIRED"
    assert QueuedJob.objects.get(id=last).status == "SCHEDULED"
    row = QueuedJob.objects.get(id=far)
    assert (row.status, row.attempts) == ("SCHEDULED", 0)
    assert row.expires_at - row.run_after == pytest.approx(timedelta(hours=1), abs=timedelta(minutes=1))


def test_what_cannot_be_run_fails_and_stops_nobody(
    send: Callable[..., str], start_worker: Callable[..., RealWorker], server: Any
) -> None:
    chained = send(ADD, 1, link={"task": ADD, "args": [1], "kwargs": {}, "options": {}})
    unknown = send("nowhere.tasks.none")
    with server.client() as client:
        client.lpush("default", b"not json", b"\x80\x04K\x01.")
    good = send(ADD, 1)
    worker = start_worker()

    assert result(good).status == "SUCCESSFUL"
    assert result(chained).status == result(unknown).status == "FAILED"
    assert "callbacks" in str(handle(chained).errors[0].traceback)
    wait_for(lambda: JobResult.objects.filter(status="FAILED").count() == 4, what=lambda: worker.output)


def test_a_killed_process_of_ours_loses_nothing_that_a_client_of_celery_sent(
    send: Callable[..., str], start_worker: Callable[..., RealWorker], server: Any, tmp_path: Path
) -> None:
    ledger, gate = Ledger(tmp_path / "ledger"), Gate(tmp_path / "gate")
    ids = {send("tests.app.tasks.ledgered_at", str(ledger.path), str(gate)) for _ in range(8)}
    worker = start_worker()
    wait_for(lambda: len(ledger.running()) == 4, what=lambda: worker.output)

    for child in worker.children():
        os.kill(child, signal.SIGKILL)
    gate.open()

    assert {id_: result(id_).status for id_ in ids} == dict.fromkeys(ids, "SUCCESSFUL"), worker.output
    assert ledger.lost(ids) == set()
    assert ledger.duplicated() == 0
    with server.client() as client:
        wait_for(lambda: client.hlen("taskq:{interop}:jobs") == 0)
        assert client.llen("default") == client.exists("unacked") == 0


# --- our client, a worker of Celery ------------------------------------------------------------------------------


def test_a_worker_of_celery_runs_what_we_enqueue(tasks: Any, start_celery: Callable[..., CeleryWorker]) -> None:
    sent = [add.enqueue(1, y=Decimal(2)), add.using(priority=-50).enqueue(3)]  # type: ignore[arg-type]

    runs = start_celery("default").wait_for_runs(2)

    assert {run["id"]: run["call"] for run in runs} == {
        sent[0].id: "((1,), {'y': Decimal('2')})",
        sent[1].id: "((3,), {})",
    }


@pytest.mark.parametrize("queue_name", ["legacy", "default"])
def test_a_delayed_job_of_a_task_that_only_celery_has_is_published_when_it_is_due(
    queue_name: str, tasks: Any, start_celery: Callable[..., CeleryWorker], start_worker: Callable[..., RealWorker]
) -> None:
    """The project that enqueues has the task; that of the worker has not, and serves the second of the queues."""

    def report(year: int) -> None: ...

    report.__module__, report.__qualname__ = "legacy.tasks", "report"
    stub = task(expires=60)(report)
    began = datetime.now(UTC)
    sent = stub.using(run_after=timedelta(seconds=2), queue_name=queue_name).enqueue(2026)
    worker, celery = start_worker(), start_celery(queue_name)

    (run,) = celery.wait_for_runs(1)

    assert (run["id"], run["call"]) == (sent.id, "((2026,), {})"), worker.output
    assert datetime.fromisoformat(run["expires"]) == pytest.approx(
        began + timedelta(seconds=62), abs=timedelta(seconds=30)
    )
    wait_for(lambda: not QueuedJob.objects.exists())
    assert not JobResult.objects.exists()


def test_what_celery_has_no_form_for_is_refused_at_the_caller(tasks: Any) -> None:
    with pytest.raises(ArgumentError, match=r"args\[0\] of type set has no form in Celery's messages: pass a list"):
        echo.enqueue({1})
    with pytest.raises(ArgumentError):
        echo.using(run_after=timedelta(hours=1)).enqueue({1})
    assert not QueuedJob.objects.exists()


# --- and between ours --------------------------------------------------------------------------------------------


def test_a_job_of_ours_is_run_by_ours_with_its_retries(tasks: Any, start_worker: Callable[..., RealWorker]) -> None:
    from tests.app.tasks import flaky

    sent, bulk = flaky.enqueue(3), add.enqueue_many([(number,) for number in range(500)])
    start_worker()
    assert sent.get(timeout=60) == "call 3"
    assert [each.get(timeout=60) for each in bulk][:3] == [2, 3, 4]


def test_queues_and_depth_are_told_as_of_every_backend(tasks: Any, send: Callable[..., str]) -> None:
    backend = add.get_backend()
    assert isinstance(backend, TaskqBackend)
    add.enqueue(1)
    send(ADD, 1, queue="celery")
    broker = broker_for("default", backend.taskq_options)
    assert {each.queue_name: each.ready for each in broker.depth()} == {"default": 1, "celery": 1}
    assert len(broker.peek("celery", 5)) == 1
    assert broker.purge("celery") == 1

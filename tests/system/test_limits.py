"""Runs that are ended from outside: time limits, cancelling, expiry."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from taskq_django.models import JobResult, PausedQueue
from taskq_django.states import State
from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, wait_for
from tests.system.test_crashes import wait_for_end

pytestmark = pytest.mark.processes

Start = Callable[..., RealWorker]

TIMEOUT = "taskq_django.exceptions.TaskTimeout"


@pytest.mark.parametrize("task", [tasks.spin, tasks.wait_long], ids=["Python code", "coroutine"])
def test_a_run_past_its_limit_is_ended_where_it_is(start_worker: Start, task: Any) -> None:
    worker = start_worker("-t", "1").wait_until_ready()
    wait_for(worker.children)
    (pid,) = worker.children()
    job = task.enqueue()
    wait_for_end(worker, job)
    assert job.state is State.FAILED
    assert [error.exception_class_path for error in job.errors] == [TIMEOUT]
    assert f"in {task.name.rpartition('.')[2]}" in job.errors[0].traceback
    assert "executor.py" not in job.errors[0].traceback
    assert tasks.my_pid.enqueue().get(timeout=60) == pid


@pytest.mark.parametrize(
    "task", [tasks.swallow_everything, tasks.block_the_event_loop], ids=["swallows it", "blocks the event loop"]
)
def test_a_run_that_does_not_come_back_ends_with_its_process(start_worker: Start, task: Any) -> None:
    worker = start_worker().wait_until_ready()
    wait_for(worker.children)
    (pid,) = worker.children()
    job = task.enqueue()
    wait_for_end(worker, job)
    assert (job.state, job.errors[0].exception_class_path) == (State.FAILED, TIMEOUT)
    assert tasks.my_pid.enqueue().get(timeout=60) != pid


def test_neighbours_of_a_run_that_does_not_come_back_finish_and_pay_nothing(
    start_worker: Start, tmp_path: Path, ledger: Ledger
) -> None:
    worker = start_worker("-t", "2").wait_until_ready()
    stuck = tasks.sleep_through.enqueue(str(tmp_path / "notes"))
    neighbour = tasks.ledgered.enqueue(str(ledger.path), 2.0)
    wait_for_end(worker, stuck, neighbour)
    assert (neighbour.state, neighbour.attempts) == (State.SUCCESSFUL, 1)
    assert (stuck.state, stuck.attempts) == (State.FAILED, 2)
    pids = (tmp_path / "notes").read_text().split()[1::2]
    assert len(set(pids)) == 2, "the second run is in another process"


def test_a_call_that_holds_the_interpreter_past_its_limit_is_killed(start_worker: Start) -> None:
    job = tasks.hold_the_interpreter.enqueue()
    worker = start_worker("-t", "1")
    wait_for_end(worker, job)
    assert (job.state, job.attempts, job.errors[0].exception_class_path) == (State.FAILED, 1, TIMEOUT)
    assert tasks.add.enqueue(1).get(timeout=60) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("seconds", [6.0, 12.0], ids=["shortly", "past all patience"])
def test_a_job_that_holds_the_interpreter_takes_no_time_from_its_neighbours(
    start_worker: Start, ledger: Ledger, seconds: float
) -> None:
    worker = start_worker("-t", "4").wait_until_ready()
    limited = tasks.nap_in_time.enqueue_many([(str(ledger.path), 1.0)] * 2)
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: worker.output)
    holder = tasks.hold_it_for.enqueue(seconds)
    wait_for_end(worker, holder, *limited)
    assert {(job.state, job.attempts) for job in (holder, *limited)} == {(State.SUCCESSFUL, 1)}, worker.output
    assert "is killed" not in worker.output


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_who_holds_the_interpreter_past_its_limit_is_to_blame(start_worker: Start, ledger: Ledger) -> None:
    worker = start_worker("-t", "4").wait_until_ready()
    limited = tasks.nap_in_time.enqueue_many([(str(ledger.path), 1.0)] * 2)
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: worker.output)
    holder = tasks.hold_it_too_long.enqueue()
    wait_for_end(worker, holder, *limited)
    assert (holder.state, holder.attempts, holder.errors[0].exception_class_path) == (State.FAILED, 1, TIMEOUT)
    assert {job.state for job in limited} == {State.SUCCESSFUL}, worker.output
    assert not any(job.errors for job in limited)
    assert set(JobResult.objects.filter(id__in=[job.id for job in limited]).values_list("tries", "crashes")) == {(0, 0)}


def test_an_interrupted_transaction_is_rolled_back_and_its_connection_closed(start_worker: Start) -> None:
    worker = start_worker("-t", "1").wait_until_ready()
    job = tasks.interrupt_my_transaction.enqueue("mail")
    wait_for_end(worker, job)
    assert job.errors[0].exception_class_path == TIMEOUT
    assert not PausedQueue.objects.exists()
    assert tasks.is_paused.enqueue("mail").get(timeout=60) is False


def test_a_limit_that_is_reached_as_a_job_ends_harms_no_other(start_worker: Start) -> None:
    jobs = tasks.near_its_limit.enqueue_many([()] * 300)
    worker = start_worker("-t", "4")
    wait_for_end(worker, *jobs)
    assert {job.state for job in jobs} <= {State.SUCCESSFUL, State.FAILED}
    assert {error.exception_class_path for job in jobs for error in job.errors} <= {TIMEOUT}
    assert {job.attempts for job in jobs} == {1}
    assert [tasks.add.enqueue(n).get(timeout=60) for n in range(8)] == [n + 2 for n in range(8)]
    assert "Exception in thread" not in worker.output


def test_a_running_job_is_cancelled_within_two_seconds(start_worker: Start, ledger: Ledger) -> None:
    worker = start_worker("-t", "4").wait_until_ready()
    # What else a machine does only makes it longer: of three rounds one is as quick as it can be.
    assert any(seconds_to_cancel(worker, ledger) < 4 for _ in range(3)), worker.output
    assert tasks.add.enqueue(1).get(timeout=60) == 3


def seconds_to_cancel(worker: RealWorker, ledger: Ledger) -> float:
    """Of the last of some running jobs."""
    path = str(ledger.path)
    jobs = [
        tasks.wait_for_cancel.enqueue(path),
        tasks.spin_without_limit.enqueue(path),
        tasks.ledgered.enqueue(path, 600.0),
        tasks.aledgered.enqueue(path, 600.0),
    ]
    wait_for(lambda: ledger.running() >= {job.id for job in jobs}, what=lambda: worker.output)
    asked_at = time.monotonic()
    for job in jobs:
        assert job.cancel(reason="enough")
    wait_for_end(worker, *jobs)
    waited = time.monotonic() - asked_at
    assert {job.state for job in jobs} == {State.CANCELLED}
    assert jobs[0].reason == "it was noticed"
    return waited


def test_a_job_that_was_not_started_in_time_expires(start_worker: Start) -> None:
    stale, fresh = tasks.soon_stale.enqueue(), tasks.add.enqueue(1)
    if connection.vendor == "sqlite":
        wait_for(lambda: (time.time() - stale.enqueued_at.timestamp()) > 0.1)
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.1)" if connection.vendor == "postgresql" else "SELECT SLEEP(0.1)")
    worker = start_worker("--burst")
    assert worker.wait() == 0, worker.output
    stale.refresh()
    fresh.refresh()
    assert (stale.state, stale.reason, fresh.state) == (State.EXPIRED, "it had not started in time", State.SUCCESSFUL)

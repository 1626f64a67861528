"""Tasks that harm what they run in: the next job finds it whole, and the outcome is written down all the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from taskq_django.models import JobAttempt, JobResult, PausedQueue, QueuedJob
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, nobody_writes, wait_for
from tests.system.conftest import LEASE
from tests.system.test_crashes import LOST, wait_for_end

Start = Callable[..., RealWorker]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could cut a connection")
def test_a_task_whose_connection_is_cut_ends_and_the_next_one_has_another(start_worker: Start) -> None:
    jobs = [tasks.cut_my_connection.enqueue() for _ in range(8)]
    after = [tasks.is_paused.enqueue("x") for _ in range(8)]
    worker = start_worker("-t", "1")
    wait_for_end(worker, *jobs, *after)
    assert {job.return_value for job in jobs} == {True}
    assert {(job.state, job.attempts, job.return_value) for job in after} == {(State.SUCCESSFUL, 1, False)}


@pytest.mark.parametrize("how", ["atomic block", "autocommit off", "broken"])
def test_a_transaction_that_a_task_leaves_open_is_rolled_back(start_worker: Start, how: str) -> None:
    job = tasks.leave_open.enqueue("mail", how)
    after = tasks.is_paused.enqueue("mail")
    worker = start_worker("-t", "1")
    wait_for_end(worker, job, after)
    assert (job.return_value, after.return_value) == ("left", False)
    assert not PausedQueue.objects.exists()
    assert "left a transaction open" in worker.output


def test_a_task_that_asks_for_too_much_memory_fails_and_harms_no_other(start_worker: Start, ledger: Ledger) -> None:
    neighbours = tasks.ledgered.enqueue_many([(str(ledger.path), 0.3)] * 4)
    job = tasks.run_out_of_memory.enqueue(4096)
    worker = start_worker("-t", "3").wait_until_ready()
    wait_for_end(worker, job, *neighbours)
    assert job.state is State.FAILED
    assert job.errors[0].exception_class_path == "builtins.MemoryError"
    assert {neighbour.attempts for neighbour in neighbours} == {1}


@pytest.mark.parametrize("task", [tasks.ledgered_at, tasks.aledgered_at], ids=["thread", "coroutine"])
def test_a_killed_process_is_made_good_within_two_seconds(
    start_worker: Start, ledger: Ledger, tmp_path: Path, task: Any
) -> None:
    worker = start_worker("-t", "3").wait_until_ready()
    longest = []
    for number in range(3):
        gate = Gate(tmp_path / f"gate{number}")
        jobs = task.enqueue_many([(str(ledger.path), str(gate))] * 3)
        ids = {job.id for job in jobs}
        wait_for(lambda ids=ids: ledger.running() >= ids, what=lambda: worker.output)  # type: ignore[misc]
        (child,) = worker.children()
        killed_at = time.monotonic()
        os.kill(child, signal.SIGKILL)
        gate.open()
        wait_for_end(worker, *jobs)
        recovery = ledger.recovery(killed_at, ids)
        assert len(recovery) == 3
        longest.append(max(recovery))
        assert {(job.state, job.attempts) for job in jobs} == {(State.SUCCESSFUL, 2)}
    # What else a machine does only makes it longer: of three rounds one is as quick as it can be.
    assert min(longest) < 4, longest
    assert set(JobAttempt.objects.values_list("exception_class", "number")) == {(LOST, 1)}
    assert set(JobResult.objects.values_list("crashes", "tries")) == {(1, 0)}


def test_a_process_that_somebody_else_asks_to_stop_finishes_and_is_replaced(
    start_worker: Start, ledger: Ledger
) -> None:
    worker = start_worker("-t", "2").wait_until_ready()
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.5)] * 8)
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: worker.output)
    (child,) = worker.children()
    os.kill(child, signal.SIGTERM)
    wait_for_end(worker, *jobs)
    assert {(job.state, job.attempts) for job in jobs} == {(State.SUCCESSFUL, 1)}
    assert ledger.duplicated() == 0
    wait_for(lambda: child not in worker.children(), what=lambda: worker.output)


def test_a_job_that_is_to_be_cancelled_is_not_run_again_when_its_process_dies(
    start_worker: Start, ledger: Ledger
) -> None:
    worker = start_worker("-t", "1").wait_until_ready()
    job = tasks.ledgered.enqueue(str(ledger.path), 30.0)
    wait_for(ledger.running, what=lambda: worker.output)
    (child,) = worker.children()
    with nobody_writes():
        os.kill(child, signal.SIGSTOP)  # so that it cannot act on the wish
    job.cancel()
    os.kill(child, signal.SIGKILL)
    wait_for_end(worker, job)
    assert (job.state, ledger.started()) == (State.CANCELLED, 1)


def test_a_job_cut_off_by_a_second_signal_costs_no_try_and_runs_again(
    start_worker: Start, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 5)
    worker = start_worker("-t", "2").wait_until_ready()
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: worker.output)
    begun = ledger.running()
    worker.send(signal.SIGTERM)
    wait_for(lambda: "finishing 2 jobs" in worker.output, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 3, worker.output
    assert "Told to stop at once" in worker.output
    gate.open()
    assert set(QueuedJob.objects.values_list("status", "tries", "crashes")) == {("READY", 0, 0)}
    wait_for_end(start_worker("-t", "5"), *jobs)
    assert {job.attempts for job in jobs if job.id in begun} == {2}
    assert {job.attempts for job in jobs if job.id not in begun} == {1}
    assert not JobAttempt.objects.exists()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about a file that one process locks for all")
def test_a_file_that_is_locked_for_longer_than_a_lease_costs_no_worker_its_jobs(
    start_worker: Start, ledger: Ledger, hasty: dict[str, str]
) -> None:
    workers = [start_worker("-t", "2", env=hasty).wait_until_ready() for _ in range(2)]
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.2)] * 30)
    wait_for(lambda: ledger.started() >= 6, what=lambda: workers[0].output)
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        time.sleep(LEASE + 2.0)  # the length of the fault
        cursor.execute("ROLLBACK")
    wait_for_end(workers[0], *jobs)
    logs = "\n---\n".join(worker.output for worker in workers)
    assert ledger.duplicated() == 0, logs
    assert {(job.state, job.attempts) for job in jobs} == {(State.SUCCESSFUL, 1)}, logs
    assert "counts as lost" not in logs, logs

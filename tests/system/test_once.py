"""What must not begin twice does not, whoever dies when; and what has not begun runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, nobody_writes, wait_for
from tests.system.test_crashes import LOST, wait_for_end

Start = Callable[..., RealWorker]

ONCE = pytest.mark.parametrize("task", [tasks.ledgered_once, tasks.aledgered_once], ids=["thread", "coroutine"])


@pytest.fixture
def gates(tmp_path: Path) -> list[Gate]:
    return [Gate(tmp_path / f"gate{number}") for number in range(3)]


@contextmanager
def nobody_settles() -> Iterator[None]:
    """What is running cannot be ended meanwhile."""
    if connection.vendor == "sqlite":
        with nobody_writes():
            yield
    else:
        with transaction.atomic():
            list(QueuedJob.objects.filter(status=State.RUNNING).select_for_update())
            yield


def end_staggered(worker: RealWorker, ledger: Ledger, gates: list[Gate]) -> None:
    """What ends first is settled alone."""
    for gate in gates:
        left = len(ledger.running())
        gate.open()
        wait_for(lambda left=left: len(ledger.running()) < left, what=lambda: worker.output)  # type: ignore[misc]


def rows(state: State) -> int:
    return QueuedJob.objects.filter(status=state).count()


def kill_child(worker: RealWorker) -> None:
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("task", [tasks.ledgered_once_at, tasks.aledgered_once_at], ids=["thread", "coroutine"])
def test_a_job_whose_run_was_over_does_not_begin_again(
    start_worker: Start, ledger: Ledger, gates: list[Gate], task: Any
) -> None:
    worker = start_worker("-t", "3").wait_until_ready()
    jobs = task.enqueue_many([(str(ledger.path), str(gate)) for gate in gates])
    wait_for(lambda: ledger.started() == 3, what=lambda: worker.output)
    with nobody_settles():
        end_staggered(worker, ledger, gates)
        kill_child(worker)
        wait_for(lambda: "died" in worker.output, what=lambda: worker.output)
    wait_for_end(worker, *jobs)
    assert ledger.started() == 3
    assert {job.attempts for job in jobs} == {1}
    failed = [job for job in jobs if job.state is State.FAILED]
    assert len(failed) >= 2, "the server may end the one statement that it had got"
    assert all("before its outcome was stored" in job.reason for job in failed), failed[0].reason
    assert set(JobResult.objects.values_list("crashes", "tries")) == {(0, 0)}


def test_a_job_whose_run_was_over_runs_again_as_another_attempt_and_is_not_to_blame(
    start_worker: Start, ledger: Ledger, gates: list[Gate]
) -> None:
    worker = start_worker("-t", "3").wait_until_ready()
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate)) for gate in gates])
    wait_for(lambda: ledger.started() == 3, what=lambda: worker.output)
    with nobody_settles():
        end_staggered(worker, ledger, gates)
        kill_child(worker)
        wait_for(lambda: "died" in worker.output, what=lambda: worker.output)
    wait_for_end(worker, *jobs)
    assert {job.state for job in jobs} == {State.SUCCESSFUL}
    runs = {id_: [run.attempt for run in story.runs] for id_, story in ledger.stories().items()}
    assert runs == {job.id: [1, 2][: job.attempts] for job in jobs}
    assert sum(job.attempts == 2 for job in jobs) >= 2, "the server may end the one statement that it had got"
    assert set(JobResult.objects.values_list("crashes", "tries")) == {(0, 0)}
    assert set(JobAttempt.objects.values_list("exception_class", "number")) == {(LOST, 1)}


def test_of_many_short_jobs_none_begins_twice_however_often_its_process_is_killed(
    start_worker: Start, ledger: Ledger
) -> None:
    count = 1500
    jobs = tasks.ledgered_once.enqueue_many([(str(ledger.path), 0.0)] * count)
    worker = start_worker("-t", "4").wait_until_ready()
    for part in (1, 2, 3):
        wait_for(lambda part=part: ledger.started() > part * count // 5, what=lambda: worker.output)  # type: ignore[misc]
        for child in worker.children():
            os.kill(child, signal.SIGKILL)
    wait_for(lambda: JobResult.objects.count() == count, timeout=60, what=lambda: worker.output)
    stories = ledger.stories()
    assert max(len(story.runs) for story in stories.values()) == 1
    succeeded = set(map(str, JobResult.objects.filter(status=State.SUCCESSFUL).values_list("id", flat=True)))
    assert succeeded <= set(stories)
    # Only what had begun, or was about to in one of the four seats of each process that was killed.
    assert len({job.id for job in jobs} - set(stories)) <= 3 * 4


def test_the_attempts_of_many_short_jobs_tell_the_truth(start_worker: Start, ledger: Ledger) -> None:
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.0)] * 1500)
    worker = start_worker("-t", "4").wait_until_ready()
    for part in (1, 2, 3):
        wait_for(lambda part=part: ledger.started() > part * 300, what=lambda: worker.output)  # type: ignore[misc]
        for child in worker.children():
            os.kill(child, signal.SIGKILL)
    wait_for(lambda: not QueuedJob.objects.exists(), timeout=60, what=lambda: worker.output)
    stories = ledger.stories()
    assert not ledger.lost({job.id for job in jobs})
    assert all(len({run.attempt for run in story.runs}) == len(story.runs) for story in stories.values())
    stored = {str(id_): attempts for id_, attempts in JobResult.objects.values_list("id", "attempts")}
    assert all(stored[id_] == max(run.attempt for run in story.runs) for id_, story in stories.items())
    assert sum(JobResult.objects.values_list("crashes", flat=True)) <= 3 * 4


@ONCE
def test_a_lost_host_fails_what_had_begun_and_nothing_else(
    start_worker: Start, ledger: Ledger, hasty: dict[str, str], task: Any
) -> None:
    seats = ("-t", "2", "-c", "2")
    first = start_worker(*seats, env=hasty).wait_until_ready()
    task.enqueue_many([(str(ledger.path), 0.0)] * 1000)  # so short that more are claimed than run
    wait_for(lambda: ledger.started() > 100, what=lambda: first.output)
    first.send_to_group(signal.SIGKILL)
    first.process.wait()
    begun = set(ledger.stories())
    held = QueuedJob.objects.filter(status=State.RUNNING).count()
    assert held, "it must have held something"

    second = start_worker(*seats, env=hasty)
    wait_for(lambda: not QueuedJob.objects.exists(), what=lambda: second.output)
    failed = {str(id_) for id_ in JobResult.objects.filter(status=State.FAILED).values_list("id", flat=True)}
    assert len(failed - begun) <= 2, "at most those that were about to begin in its seats"
    assert max(len(story.runs) for story in ledger.stories().values()) == 1
    assert JobResult.objects.exclude(id__in=failed).exclude(status=State.SUCCESSFUL).count() == 0
    assert JobResult.objects.filter(status=State.SUCCESSFUL).exclude(attempts=1).count() == 0


@ONCE
def test_a_lost_host_fails_a_job_in_the_middle_of_its_run(
    start_worker: Start, ledger: Ledger, hasty: dict[str, str], task: Any
) -> None:
    first = start_worker(env=hasty).wait_until_ready()
    job = task.enqueue(str(ledger.path), 30.0)
    wait_for(ledger.running, what=lambda: first.output)
    first.send_to_group(signal.SIGKILL)
    wait_for_end(start_worker(env=hasty), job)
    assert (job.state, job.attempts, ledger.started()) == (State.FAILED, 1, 1)
    assert "no sign of life" in job.reason


@ONCE
@pytest.mark.parametrize("signals", [1, 2], ids=["the grace is over", "stop now"])
def test_a_stop_does_not_begin_it_again(start_worker: Start, ledger: Ledger, task: Any, signals: int) -> None:
    worker = start_worker("--grace", "1" if signals == 1 else "600").wait_until_ready()
    job = task.enqueue(str(ledger.path), 600.0)
    wait_for(ledger.running, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    wait_for(lambda: "finishing 1 job" in worker.output, what=lambda: worker.output)
    if signals == 2:
        worker.send(signal.SIGTERM)
    assert worker.wait() == 3, worker.output
    job.refresh()
    assert (job.state, job.attempts) == (State.FAILED, 1)
    assert "stopped before its run was over" in job.reason
    assert job.errors[0].exception_class_path == LOST


def test_a_neighbour_that_does_not_come_back_does_not_begin_it_again(start_worker: Start, ledger: Ledger) -> None:
    worker = start_worker("-t", "2", "--grace", "1").wait_until_ready()
    job = tasks.ledgered_once.enqueue(str(ledger.path), 600.0)
    wait_for(ledger.running, what=lambda: worker.output)
    stuck = tasks.swallow_everything.enqueue()
    wait_for_end(worker, stuck, job)
    assert (job.state, job.attempts, ledger.started()) == (State.FAILED, 1, 1)


def test_what_goes_back_before_it_has_begun_begins_elsewhere(
    start_worker: Start, ledger: Ledger, tmp_path: Path
) -> None:
    worker = start_worker("-t", "1", "--grace", "600").wait_until_ready()
    tasks.add.enqueue_many([(1,)] * 200)  # so short that from now on more are claimed than run
    wait_for(lambda: JobResult.objects.count() == 200, what=lambda: worker.output[-3000:])
    blocker = tasks.wait_at.enqueue(str(tmp_path / "gate"))
    jobs = tasks.ledgered_once.enqueue_many([(str(ledger.path), 0.0)] * 5)
    wait_for(lambda: rows(State.RUNNING) == 6, what=lambda: worker.output[-3000:])
    worker.send(signal.SIGTERM)
    wait_for(lambda: "finishing 1 job" in worker.output, what=lambda: worker.output[-3000:])
    assert (rows(State.RUNNING), rows(State.READY)) == (1, 5)
    (tmp_path / "gate").touch()
    assert worker.wait() == 0, worker.output
    wait_for_end(start_worker(), blocker, *jobs)
    assert {(job.state, job.attempts) for job in jobs} == {(State.SUCCESSFUL, 1)}

"""Processes that die while they run jobs: nothing is lost, and only those to blame pay."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from taskq_django import Result
from taskq_django.models import JobResult, QueuedJob, WorkerProcess
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, wait_for
from tests.system.conftest import LEASE

pytestmark = pytest.mark.processes

Start = Callable[..., RealWorker]

LOST = "taskq_django.exceptions.WorkerLost"


def has_ended(result: Result[object]) -> bool:
    result.refresh()
    return result.state.is_final


def wait_for_end(worker: RealWorker, *results: Result[object]) -> None:
    for result in results:
        wait_for(lambda result=result: has_ended(result), what=lambda: worker.output)  # type: ignore[misc]


@pytest.mark.parametrize("how", ["SIGKILL", "exit code 0", "exit code 7", "SIGSEGV", "SIGABRT"])
def test_a_job_that_kills_its_process_ends_after_three_and_takes_no_other_with_it(
    start_worker: Start, ledger: Ledger, how: str
) -> None:
    poison = tasks.die.enqueue(how)
    others = tasks.ledgered.enqueue_many([(str(ledger.path), 0.05)] * 12)
    worker = start_worker("-t", "3")
    wait_for_end(worker, poison, *others)

    assert (poison.state, poison.attempts) == (State.FAILED, 3)
    assert [error.exception_class_path for error in poison.errors] == [LOST] * 3
    assert how in poison.reason
    assert JobResult.objects.get(id=poison.id).crashes == 3
    assert {other.state for other in others} == {State.SUCCESSFUL}
    assert not ledger.lost({other.id for other in others})
    assert ledger.duplicated() == 0


@pytest.mark.parametrize("task", [tasks.ledgered, tasks.aledgered], ids=["thread", "coroutine"])
def test_a_suspect_of_two_crashes_has_a_process_of_its_own(start_worker: Start, ledger: Ledger, task: Any) -> None:
    suspects = task.enqueue_many([(str(ledger.path), 0.2)] * 12)
    QueuedJob.objects.update(crashes=2)
    others = task.enqueue_many([(str(ledger.path), 0.01)] * 20)
    worker = start_worker("-t", "4")
    wait_for_end(worker, *suspects, *others)

    stories = ledger.stories()
    alone = [run.pid for suspect in suspects for run in stories.pop(suspect.id).runs]
    assert len(set(alone)) == 12
    assert not set(alone) & {run.pid for story in stories.values() for run in story.runs}
    assert {(job.state, job.attempts) for job in [*suspects, *others]} == {(State.SUCCESSFUL, 1)}
    assert " died: " not in worker.output


def test_innocents_do_not_wait_behind_a_suspect(start_worker: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    suspect = tasks.wait_at.enqueue(str(gate))
    QueuedJob.objects.update(crashes=2)
    before = tasks.wait_at.enqueue(str(gate))
    worker = start_worker("-t", "2")
    wait_for(lambda: "process of its own" in worker.output, what=lambda: worker.output)
    wait_for_end(worker, *tasks.add.enqueue_many([(1,)] * 20))
    assert not has_ended(before)
    gate.touch()
    wait_for_end(worker, suspect, before)
    assert {job.state for job in (suspect, before)} == {State.SUCCESSFUL}


def test_a_burst_goes_on_when_a_process_dies_until_nothing_is_ready(start_worker: Start) -> None:
    poison = [tasks.die.enqueue("SIGKILL"), tasks.die.enqueue("exit code 7")]
    others = tasks.add.enqueue_many([(1,)] * 60)
    worker = start_worker("--burst", "-t", "2")
    assert worker.wait(60) == 0, worker.output
    assert not QueuedJob.objects.exists()
    for job in [*poison, *others]:
        job.refresh()
    assert {(job.state, job.attempts) for job in poison} == {(State.FAILED, 3)}
    assert {job.state for job in others} == {State.SUCCESSFUL}


def test_what_must_not_run_twice_fails_at_the_first_crash(start_worker: Start) -> None:
    job = tasks.die_once.enqueue()
    wait_for_end(start_worker(), job)
    assert (job.state, job.attempts) == (State.FAILED, 1)
    assert "SIGKILL" in job.reason


def test_jobs_that_had_not_begun_go_back_at_no_cost(start_worker: Start, ledger: Ledger, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 6)
    worker = start_worker("-t", "2").wait_until_ready()
    wait_for(lambda: ledger.started() == 2, what=lambda: worker.output)
    begun = ledger.running()
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    gate.open()
    wait_for_end(worker, *jobs)

    assert {job.attempts for job in jobs if job.id in begun} == {2}
    assert {job.attempts for job in jobs if job.id not in begun} == {1}


def test_the_copy_of_a_task_that_forks_ends_nothing(start_worker: Start, tmp_path: Path) -> None:
    job = tasks.fork_and_return.enqueue(str(tmp_path / "notes"))
    after = tasks.add.enqueue(1)
    worker = start_worker("-t", "1")
    wait_for_end(worker, job, after)
    assert (job.return_value, job.attempts, after.return_value) == ("parent", 1, 3)
    assert (tmp_path / "notes").read_text() == "parent\n"
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output


def test_a_task_that_holds_the_interpreter_is_not_taken_away(start_worker: Start, hasty: dict[str, str]) -> None:
    held = tasks.hold_it_for.enqueue(LEASE + 1)
    worker = start_worker(env=hasty).wait_until_ready()
    other = start_worker(env=hasty).wait_until_ready()
    wait_for_end(worker, held)
    assert (held.state, held.attempts) == (State.SUCCESSFUL, 1), other.output


def test_processes_are_replaced_after_so_many_jobs_and_nothing_is_lost(start_worker: Start) -> None:
    results = [tasks.my_pid.enqueue() for _ in range(50)]
    worker = start_worker("--max-tasks-per-child", "10", "-t", "2")
    wait_for_end(worker, *results)
    by_pid = [sum(result.return_value == pid for result in results) for pid in {r.return_value for r in results}]
    assert len(by_pid) >= 5
    assert max(by_pid) <= 10
    assert {result.attempts for result in results} == {1}
    assert "died" not in worker.output


def test_a_burst_goes_on_in_the_process_that_takes_a_place(start_worker: Start) -> None:
    tasks.add.enqueue_many([(n,) for n in range(25)])
    worker = start_worker("--burst", "--max-tasks-per-child", "10")
    assert worker.wait() == 0, worker.output
    assert JobResult.objects.filter(status=State.SUCCESSFUL).count() == 25


def test_a_process_that_has_grown_is_replaced(start_worker: Start) -> None:
    first = tasks.grow.enqueue(200)
    worker = start_worker("--max-memory-per-child", "150")
    pid = first.get(timeout=60)
    wait_for(lambda: "MiB" in worker.output, what=lambda: worker.output)
    wait_for(lambda: pid not in worker.children())
    second = tasks.my_pid.enqueue()
    assert second.get(timeout=60) != pid
    assert "died" not in worker.output


def test_a_process_that_dies_at_its_start_is_started_again_with_growing_waits(
    start_worker: Start, tmp_path: Path, settings_with: Callable[..., dict[str, str]]
) -> None:
    (tmp_path / "dying.py").write_text(
        "import os\nfrom django.apps import AppConfig\nfrom taskq_django.signals import worker_started\n"
        "class Dying(AppConfig):\n    name = 'dying'\n    default = True\n    def ready(self):\n"
        "        os.register_at_fork(after_in_child=lambda: os._exit(9))\n"
    )
    env = settings_with(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, "dying.Dying"])
    worker = start_worker(env=env)
    wait_for(lambda: worker.output.count("died: exit code 9") >= 3, what=lambda: worker.output)
    first, second, *_ = worker.seconds_between_deaths()
    assert (first >= 0.5, second >= 1) == (True, True), (first, second)
    worker.send(signal.SIGTERM)
    worker.wait()
    wait_for(lambda: not WorkerProcess.objects.exists())

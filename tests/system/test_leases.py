"""Workers that vanish, or sleep longer than their lease: others take over, and the late one changes nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskq_django import Result
from taskq_django.models import JobAttempt, JobResult, WorkerProcess
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.servers import is_gone
from tests.support.workers import RealWorker, nobody_writes, wait_for
from tests.system.test_crashes import LOST, wait_for_end

Start = Callable[..., RealWorker]


def wait_for_starts(worker: RealWorker, ledger: Ledger, count: int) -> None:
    wait_for(lambda: ledger.started() > count, what=lambda: worker.output)


def test_the_jobs_of_a_killed_worker_run_on_another(
    start_worker: Start, ledger: Ledger, hasty: dict[str, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    killed = start_worker("-t", "2", env=hasty).wait_until_ready()
    other = start_worker("-t", "2", env=hasty).wait_until_ready()
    wait_for(lambda: killed.children() and other.children())
    pids = set(killed.children())
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 8)
    wait_for(lambda: len(ledger.running()) == 4, what=lambda: killed.output)
    killed_at = time.monotonic()
    killed.send_to_group(signal.SIGKILL)
    gate.open()
    begun = {id_ for id_, story in ledger.stories().items() if story.runs[-1].pid in pids and not story.ends}
    wait_for_end(other, *jobs)

    assert not ledger.lost({job.id for job in jobs})
    assert {job.state for job in jobs} == {State.SUCCESSFUL}
    assert max(ledger.recovery(killed_at)) < 25, "a lease of 5 s and a look, and not the one of 30 s that it comes with"
    lost = JobAttempt.objects.filter(exception_class=LOST)
    assert begun
    assert begun <= {str(id_) for id_ in lost.values_list("job_id", flat=True)}
    assert set(JobResult.objects.values_list("crashes", "tries")) == {(0, 0)}
    wait_for(lambda: WorkerProcess.objects.filter(supervisor=None).count() == 1)


def test_a_worker_that_starts_after_the_loss_rescues_too(
    start_worker: Start, ledger: Ledger, hasty: dict[str, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    job = tasks.ledgered_at.enqueue(str(ledger.path), str(gate))
    killed = start_worker(env=hasty).wait_until_ready()
    wait_for(ledger.running, what=lambda: killed.output)
    killed.send_to_group(signal.SIGKILL)
    killed.process.wait()
    gate.open()
    wait_for_end(start_worker(env=hasty), job)
    assert (job.state, job.attempts) == (State.SUCCESSFUL, 2)


def test_processes_end_with_their_supervisor_and_finish_what_they_run(
    start_worker: Start, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 8)
    worker = start_worker("-p", "2", "-t", "2").wait_until_ready()
    wait_for(lambda: len(ledger.running()) == 4, what=lambda: worker.output)
    children = worker.children()
    worker.send(signal.SIGKILL)
    worker.process.wait()
    gate.open()
    for child in children:
        wait_for(lambda child=child: is_gone(child))  # type: ignore[misc]
    assert not ledger.running()
    wait_for_end(start_worker(), *jobs)
    assert ledger.duplicated() == 0
    assert {job.attempts for job in jobs} == {1}


def test_a_worker_that_wakes_too_late_changes_nothing_and_starts_nothing(
    start_worker: Start, ledger: Ledger, hasty: dict[str, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 5)
    late = start_worker("-t", "1", env=hasty).wait_until_ready()
    wait_for(ledger.running, what=lambda: late.output)
    stopped = {run.pid for story in ledger.stories().values() for run in story.runs}
    with nobody_writes():
        late.send_to_group(signal.SIGSTOP)
    gate.open()
    other = start_worker("-t", "2", env=hasty)
    wait_for_end(other, *jobs)
    before = {row.id: (row.worker_id, row.attempts, row.finished_at) for row in JobResult.objects.all()}
    late.send_to_group(signal.SIGCONT)
    wait_for(lambda: "under a new id" in late.output, what=lambda: late.output)
    wait_for(lambda: "lost task=" in late.output, what=lambda: late.output)

    after = {row.id: (row.worker_id, row.attempts, row.finished_at) for row in JobResult.objects.all()}
    assert after == before
    started = [story for story in ledger.stories().values() if any(run.pid in stopped for run in story.runs)]
    assert len(started) == 1, "only what ran when it was stopped"
    assert ledger.duplicated() == 1
    other.send(signal.SIGTERM)
    other.wait()
    assert tasks.add.enqueue(1).get(timeout=60) == 3, late.output


def test_processes_begin_nothing_while_their_supervisor_is_stopped(
    start_worker: Start, ledger: Ledger, hasty: dict[str, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    first = tasks.ledgered_at.using(priority=1).enqueue(str(ledger.path), str(gate))
    jobs = [first, *tasks.ledgered.enqueue_many([(str(ledger.path), 0.1)] * 10)]
    late = start_worker("-t", "1", env=hasty).wait_until_ready()
    wait_for(ledger.running, what=lambda: late.output)
    (child,) = late.children()
    with nobody_writes():
        late.send(signal.SIGSTOP)
    other = start_worker("-t", "1", env=hasty).wait_until_ready()
    # Once the lease is over, the other one has the first job too, and both come free at the same time.
    wait_for(lambda: len(ledger.stories()[first.id].runs) == 2, what=lambda: other.output)
    gate.open()
    wait_for_end(other, *jobs)
    late.send(signal.SIGCONT)
    wait_for(lambda: "under a new id" in late.output, what=lambda: late.output)
    wait_for(lambda: is_gone(child), what=lambda: late.output)
    assert not ledger.lost({job.id for job in jobs})
    assert {job.state for job in jobs} == {State.SUCCESSFUL}
    assert [job_id for job_id, story in ledger.stories().items() if story.runs[0].pid == child] == [first.id]
    assert ledger.duplicated() <= 1


def test_a_stop_costs_no_job_a_try_and_runs_none_twice(start_worker: Start, ledger: Ledger) -> None:
    jobs: list[Result[Any]] = []
    for _ in range(4):
        jobs += tasks.ledgered.enqueue_many([(str(ledger.path), 0.02)] * 100)  # each time: they may all have ended
        seen = ledger.started()
        worker = start_worker("-p", "2", "-t", "4").wait_until_ready()
        wait_for_starts(worker, ledger, seen + 20)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
        assert not ledger.running()
    wait_for_end(start_worker("-p", "2", "-t", "8"), *jobs)
    assert not ledger.lost({job.id for job in jobs})
    assert ledger.duplicated() == 0
    assert set(JobResult.objects.values_list("attempts", "tries", "crashes")) == {(1, 0, 0)}


def test_a_task_that_swallows_everything_does_not_outlive_the_grace(start_worker: Start, ledger: Ledger) -> None:
    job = tasks.swallow_for_ever.enqueue(str(ledger.path))
    worker = start_worker("--grace", "0.5").wait_until_ready()
    wait_for(ledger.running, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 3, worker.output
    job.refresh()
    assert (job.state, job.attempts) == (State.READY, 1)


def test_a_stop_among_a_hundred_thousand_waiting_jobs_is_quick(
    start_worker: Start, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    running = tasks.ledgered_at.using(priority=1).enqueue(str(ledger.path), str(gate))
    tasks.add.enqueue_many([(1,)] * 100_000)
    worker = start_worker("-t", "1").wait_until_ready()
    wait_for(ledger.running, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    wait_for(lambda: "finishing 1 job" in worker.output, what=lambda: worker.output)
    gate.open()
    assert worker.wait(20) == 0, "a hundred thousand of anything would take longer"
    running.refresh()
    assert running.state is State.SUCCESSFUL


def test_a_worker_in_one_process_rescues_and_is_rescued(
    start_worker: Start, ledger: Ledger, hasty: dict[str, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    job = tasks.ledgered_at.enqueue(str(ledger.path), str(gate))
    killed = start_worker("-p", "0", env=hasty).wait_until_ready()
    wait_for(ledger.running, what=lambda: killed.output)
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    gate.open()
    wait_for_end(start_worker("-p", "0", env=hasty), job)
    assert (job.state, job.attempts) == (State.SUCCESSFUL, 2)

"""Nothing of a worker dies unseen: whatever ends a thread or an event loop, jobs go on or the process is replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection

from taskq_django.models import JobResult, PausedQueue
from taskq_django.states import State
from tests.app import tasks
from tests.support.workers import RealWorker, cut_other_connections, nobody_writes, wait_for
from tests.system.test_crashes import LOST, wait_for_end

pytestmark = pytest.mark.processes

Start = Callable[..., RealWorker]


@pytest.mark.once
@pytest.mark.parametrize(
    ("task", "state"),
    [
        (tasks.raise_unspeakable, State.FAILED),
        (tasks.araise_unspeakable, State.FAILED),
        (tasks.discard_unspeakably, State.CANCELLED),
    ],
)
def test_an_exception_that_cannot_be_told_ends_its_job_and_no_thread(
    start_worker: Start, task: Any, state: State
) -> None:
    worker = start_worker("-t", "2", "-c", "2").wait_until_ready()
    jobs = task.enqueue_many([()] * 5)  # more than there are seats
    after = [tasks.add.enqueue(1), tasks.aadd.enqueue(1)]
    wait_for_end(worker, *jobs, *after)
    assert {job.state for job in jobs} == {state}
    assert {job.return_value for job in after} == {3}
    assert "died" not in worker.output


@pytest.mark.once
@pytest.mark.parametrize("what", ["exit", "interrupt", "close"])
@pytest.mark.parametrize(
    "heard",
    ["after_run run_failed run_retried", "result_recorded", "worker_started", "task_started task_finished"],
)
def test_a_receiver_that_raises_what_ends_a_thread_changes_nothing(
    start_worker: Start, settings_with: Callable[..., dict[str, str]], what: str, heard: str
) -> None:
    env = settings_with(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, "tests.support.rude_receivers.Rude"])
    worker = start_worker("-t", "2", "-c", "2", env={**env, "RUDE": what, "RUDE_SIGNALS": heard}).wait_until_ready()
    good = [task.enqueue(1) for task in (tasks.add, tasks.aadd) for _ in range(5)]
    bad = [task.enqueue() for task in (tasks.explode, tasks.aexplode) for _ in range(5)]
    again = tasks.note_and_retry.enqueue()
    wait_for_end(worker, *good, *bad, again)
    assert {(job.state, job.attempts) for job in good} == {(State.SUCCESSFUL, 1)}
    assert {(job.state, job.attempts) for job in bad} == {(State.FAILED, 1)}
    assert (again.state, again.attempts) == (State.SUCCESSFUL, 2)
    assert "died" not in worker.output


@pytest.mark.once
@pytest.mark.parametrize("how", ["exits", "exits in a call", "interrupts", "stops"])
def test_what_ends_the_event_loop_from_beside_the_jobs_ends_none_of_them(start_worker: Start, how: str) -> None:
    worker = start_worker("-c", "3").wait_until_ready()
    neighbour = tasks.anap.enqueue(1.0)
    culprits = [tasks.leave_later.enqueue(how) for _ in range(5)]
    wait_for_end(worker, *culprits)
    after = [tasks.aadd.enqueue(n) for n in range(5)]
    wait_for_end(worker, neighbour, *after)
    assert {job.state for job in (neighbour, *culprits, *after)} == {State.SUCCESSFUL}
    assert neighbour.attempts == 1
    assert "died" not in worker.output


@pytest.mark.once
def test_a_job_that_closes_the_event_loop_is_blamed_and_ends_after_three(start_worker: Start) -> None:
    culprit = tasks.close_the_event_loop.enqueue()
    worker = start_worker("-c", "3").wait_until_ready()
    wait_for_end(worker, culprit)
    after = tasks.aadd.enqueue(1)
    wait_for_end(worker, after)
    assert (culprit.state, culprit.attempts) == (State.FAILED, 3)
    assert {error.exception_class_path for error in culprit.errors} == {LOST}
    assert after.return_value == 3


@pytest.mark.once
@pytest.mark.parametrize("what", ["object", "too large", "not a number", "surrogate"])
def test_a_result_that_cannot_be_stored_fails_once(start_worker: Start, tmp_path: Any, what: str) -> None:
    job = tasks.note_and_return.enqueue(str(tmp_path / "notes"), what)
    worker = start_worker()
    wait_for_end(worker, job)
    assert (job.state, job.attempts) == (State.FAILED, 1)
    assert (tmp_path / "notes").read_text() == f"{what}\n"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could cut a connection")
def test_coroutines_have_another_connection_after_theirs_was_cut(start_worker: Start) -> None:
    worker = start_worker().wait_until_ready()
    assert tasks.acount.enqueue().get(timeout=60) == 0
    for _ in range(3):
        cut_other_connections()
        # The first may meet the connection that is gone, if it comes at once.
        first = tasks.acount.enqueue()
        wait_for_end(worker, first)
        later = [tasks.acount.enqueue() for _ in range(4)]
        wait_for_end(worker, *later)
        assert {job.state for job in later} == {State.SUCCESSFUL}, worker.output


@pytest.mark.parametrize(
    "how", ["atomic block", "autocommit off", "autocommit off, alone", "broken", "in another thread"]
)
def test_a_transaction_that_a_coroutine_leaves_open_takes_no_other_jobs_rows(start_worker: Start, how: str) -> None:
    worker = start_worker("-c", "4").wait_until_ready()
    culprit = tasks.aleave_open.enqueue("culprit", how)
    wait_for_end(worker, culprit)
    others = [tasks.anote_row.enqueue(f"other {n}") for n in range(6)]
    wait_for_end(worker, *others)
    assert {job.state for job in (culprit, *others)} == {State.SUCCESSFUL}
    kept = set(PausedQueue.objects.values_list("queue_name", flat=True))
    assert kept == {f"other {n}" for n in range(6)}
    assert f"left a transaction open; rolled back task=tests.app.tasks.aleave_open id={culprit.id}" in worker.output


def test_a_call_that_a_coroutine_cannot_leave_does_not_keep_the_orm_from_all_others(start_worker: Start) -> None:
    worker = start_worker("--grace", "1").wait_until_ready()
    culprit = tasks.block_the_orm.enqueue(600.0)
    wait_for_end(worker, culprit)
    others = [tasks.acount.enqueue() for _ in range(3)]
    wait_for_end(worker, *others)
    assert culprit.errors[0].exception_class_path == "taskq_django.exceptions.TaskTimeout"
    assert {job.return_value for job in others} == {0}
    assert "did not come back" in worker.output
    assert "it is killed" not in worker.output


def test_a_call_that_outlives_its_coroutine_does_not_keep_the_orm_from_all_others(start_worker: Start) -> None:
    worker = start_worker("--grace", "1").wait_until_ready()
    culprit = tasks.leave_the_orm_busy.enqueue(600.0)
    wait_for_end(worker, culprit)
    others = [tasks.acount.enqueue() for _ in range(3)]
    wait_for_end(worker, *others)
    assert (culprit.state, culprit.attempts) == (State.SUCCESSFUL, 1)
    assert {job.return_value for job in others} == {0}
    assert "keeps others waiting" in worker.output


@pytest.mark.once
def test_what_a_coroutine_activates_ends_with_it(start_worker: Start) -> None:
    jobs = [tasks.activate.enqueue(language) for language in ("de", "fr", "pl", "de")]
    worker = start_worker("-c", "1")
    wait_for_end(worker, *jobs)
    assert {job.return_value for job in jobs} == {"en-us"}


def health() -> str:
    output = StringIO()
    with suppress(SystemExit):
        call_command("taskq_health", stdout=output)
    return output.getvalue().strip()


def test_a_worker_that_can_run_jobs_is_healthy_and_one_that_cannot_is_not(
    start_worker: Start, tmp_path: Path, settings_with: Callable[..., dict[str, str]]
) -> None:
    good = start_worker().wait_until_ready()
    wait_for(lambda: health() == "healthy", what=health)
    good.stop()
    (tmp_path / "dying.py").write_text(
        "import os\nfrom django.apps import AppConfig\n"
        "class Dying(AppConfig):\n    name = 'dying'\n    default = True\n    def ready(self):\n"
        "        os.register_at_fork(after_in_child=lambda: os._exit(9))\n"
    )
    bad = start_worker(env=settings_with(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, "dying.Dying"]))
    wait_for(lambda: "died" in bad.output, what=lambda: bad.output)
    wait_for(lambda: "can run jobs" in health(), what=health)


def test_a_worker_whose_loop_hangs_is_not_healthy_until_it_turns_again(start_worker: Start) -> None:
    worker = start_worker().wait_until_ready()
    wait_for(lambda: health() == "healthy", what=health)
    (child,) = worker.children()
    with nobody_writes():
        os.kill(child, signal.SIGSTOP)
    wait_for(lambda: "can run jobs" in health(), what=health)
    os.kill(child, signal.SIGCONT)
    wait_for(lambda: health() == "healthy", what=health)


@pytest.mark.once
def test_a_worker_that_has_met_all_of_this_is_still_the_same_process(start_worker: Start) -> None:
    worker = start_worker("-t", "2", "-c", "2", "--grace", "20").wait_until_ready()
    wait_for(worker.children)
    before = worker.children()
    jobs = [tasks.raise_unspeakable.enqueue(), tasks.leave_later.enqueue("exits"), tasks.leave_later.enqueue("stops")]
    wait_for_end(worker, *jobs)
    assert worker.children() == before
    worker.stop()
    assert JobResult.objects.count() == 3

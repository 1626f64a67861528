"""How far a job is, seen from another process than the one that runs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from taskq_django import Progress, Result
from taskq_django.exceptions import TaskFailed
from taskq_django.models import JobProgress
from tests.app import tasks
from tests.support.workers import RealWorker, wait_for

Start = Callable[..., RealWorker]


def progress_of(result: Result[Any]) -> Progress | None:
    result.refresh()
    return result.progress


def is_half_way(result: Result[Any]) -> bool:
    progress = progress_of(result)
    return progress is not None and (progress.done, progress.total, progress.text) == (1, 2, "half-way")


@pytest.mark.parametrize("is_atomic", [False, True], ids=["plain", "in a transaction"])
def test_what_a_running_task_says_is_seen_at_once(start_worker: Start, tmp_path: Path, is_atomic: bool) -> None:
    if is_atomic and connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer, which is the task")
    gate = tmp_path / "gate"
    worker = start_worker().wait_until_ready()
    result = tasks.say_and_wait.enqueue(str(gate), is_atomic)
    wait_for(lambda: is_half_way(result), what=lambda: worker.output)

    gate.touch()

    assert result.get(timeout=60) == "there"
    assert result.progress is not None
    assert (result.progress.done, result.progress.text) == (2, "there")


def test_the_next_attempt_of_a_job_whose_process_was_killed_begins_the_bar_anew(
    start_worker: Start, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = start_worker().wait_until_ready()
    result = tasks.say_and_wait.enqueue(str(gate))
    wait_for(lambda: is_half_way(result), what=lambda: worker.output)

    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)

    wait_for(JobProgress.objects.filter(attempt=2).exists, what=lambda: worker.output)
    gate.touch()
    assert result.get(timeout=60) == "there"


def test_a_stop_writes_down_how_far_it_came(start_worker: Start, tmp_path: Path) -> None:
    worker = start_worker("--grace", "0.2").wait_until_ready()
    result = tasks.say_and_wait.enqueue(str(tmp_path / "never"))
    wait_for(lambda: is_half_way(result), what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    worker.wait()
    assert is_half_way(result)


def test_a_task_that_locks_its_database_is_still_ended_in_time(start_worker: Start) -> None:
    """On SQLite its progress cannot be written meanwhile, and the loop must not wait for that."""
    worker = start_worker().wait_until_ready()
    result = tasks.speak_in_a_transaction_for_ever.enqueue()
    with pytest.raises(TaskFailed, match="TaskTimeout"):
        result.get(timeout=60)
    assert "cannot be used" not in worker.output
    assert tasks.add.enqueue(1).get(timeout=60) == 3

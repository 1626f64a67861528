"""A job whose process dies: the project's receivers hear of its end all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.workers import RealWorker, wait_for
from tests.system.test_crashes import wait_for_end

pytestmark = pytest.mark.processes

Start = Callable[..., RealWorker]


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    return tmp_path / "noted"


@pytest.fixture
def env(settings_with: Callable[..., dict[str, str]], noted: Path) -> dict[str, str]:
    apps = [*django_settings.INSTALLED_APPS, "tests.support.noting_receivers.Noting"]
    return {**settings_with(INSTALLED_APPS=apps), "NOTED": str(noted)}


def heard(noted: Path, job: Any) -> list[str]:
    """What was said of this job, without its id."""
    lines = noted.read_text().splitlines() if noted.exists() else []
    return [line.replace(f" {job.id}", "") for line in lines if f" {job.id} " in line]


def test_who_listens_hears_of_each_try_and_of_the_end(start_worker: Start, env: dict[str, str], noted: Path) -> None:
    worker = start_worker(env=env)
    poison = tasks.die.enqueue("SIGKILL")
    wait_for_end(worker, poison)
    wait_for(lambda: len(heard(noted, poison)) == 9, what=lambda: worker.output)
    tried = ["run_retried Retried WorkerLost die", "after_run Retried NoneType die"]
    failed = ["run_failed Failed WorkerLost die", "after_run Failed NoneType die"]
    recorded = "result_recorded {} NoneType die"
    assert heard(noted, poison) == [
        *([*tried, recorded.format("Retried")] * 2),
        *failed,
        recorded.format("Failed"),
    ]
    fine = tasks.add.enqueue(1)
    wait_for_end(worker, fine)
    wait_for(lambda: len(heard(noted, fine)) == 2, what=lambda: worker.output)


@pytest.mark.parametrize("how", ["NOTED_HANGS", "NOTED_DIES"])
def test_a_receiver_that_does_not_come_back_holds_up_nothing(
    start_worker: Start, env: dict[str, str], noted: Path, how: str
) -> None:
    worker = start_worker("-t", "2", env={**env, how: "1"}).wait_until_ready()
    poison = tasks.die.enqueue("SIGKILL")
    wait_for(lambda: heard(noted, poison), what=lambda: worker.output)
    fine = tasks.add.enqueue_many([(number,) for number in range(20)])
    wait_for_end(worker, poison, *fine)
    assert poison.state is State.FAILED
    assert {each.state for each in fine} == {State.SUCCESSFUL}
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert ("were not told of" in worker.output) is (how == "NOTED_HANGS")


def test_of_a_worker_that_ends_who_listens_hears_before(
    start_worker: Start, env: dict[str, str], noted: Path, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    worker = start_worker("-t", "1", env=env).wait_until_ready()
    job = tasks.gated_note.enqueue(str(tmp_path / "ledger"), "a", str(gate))
    wait_for((tmp_path / "ledger").exists, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    wait_for(lambda: "Stopping" in worker.output, what=lambda: worker.output)
    for pid in worker.children():
        os.kill(pid, signal.SIGKILL)
    worker.wait()
    assert heard(noted, job) == [
        "run_retried Retried WorkerLost gated_note",
        "after_run Retried NoneType gated_note",
        "result_recorded Retried NoneType gated_note",
    ]


@pytest.mark.parametrize("how", ["NOTED_HANGS", ""])
def test_a_second_stop_with_something_to_tell_ends_it_at_once(
    start_worker: Start, env: dict[str, str], noted: Path, tmp_path: Path, how: str
) -> None:
    gate = Gate(tmp_path / "gate")
    worker = start_worker("-t", "1", env={**env, **({how: "1"} if how else {})}).wait_until_ready()
    tasks.gated_note.enqueue(str(tmp_path / "ledger"), "a", str(gate))
    wait_for((tmp_path / "ledger").exists, what=lambda: worker.output)
    children = worker.children()
    worker.send(signal.SIGTERM)
    wait_for(lambda: "Stopping" in worker.output, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert worker.wait() in {0, 1, 3}


def test_who_tells_ends_with_its_supervisor(start_worker: Start, env: dict[str, str], noted: Path) -> None:
    worker = start_worker(env={**env, "NOTED_HANGS": "1"}).wait_until_ready()
    before = set(worker.children())
    poison = tasks.die.enqueue("SIGKILL")
    wait_for(lambda: heard(noted, poison), what=lambda: worker.output)
    left = set(worker.children()) - before
    worker.send(signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), what=lambda: f"{left}\n{worker.output}")

"""What a task starts can be stopped as from a shell or a web process, and its end is not the worker's."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from taskq_django.models import QueuedJob, Schedule
from tests.app import programs
from tests.support.workers import ROOT, RealWorker, wait_for

Start = Callable[..., RealWorker]

# How a worker may come to its processes: by a fork, by none at all, by starting Python anew.
OF_A_SHELL: dict[str, list[int]] = {"blocked": [], "ignored": []}
WAYS = ["forked", "alone", "spawned"]
METHODS = ["fork", "spawn", "forkserver"]

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and calls timeout of GNU"),
]


@pytest.fixture(params=WAYS)
def worker(request: pytest.FixtureRequest, start_worker: Start, tmp_path: Path) -> RealWorker:
    if request.param == "spawned":
        # A thread in the supervisor before it forks.
        (tmp_path / "sitecustomize.py").write_text(
            "import threading, time\nthreading.Thread(target=time.sleep, args=[3600], daemon=True).start()\n"
        )
        env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        return start_worker("-t", "4", env=env).wait_until_ready()
    flags = ["-p", "0"] if request.param == "alone" else []
    return start_worker("-t", "4", *flags).wait_until_ready()


def test_what_a_task_starts_begins_with_the_signals_of_a_shell(worker: RealWorker) -> None:
    results = [programs.begins_with.enqueue() for _ in range(6)]
    results.append(programs.abegins_with.enqueue())
    # Python's own: it ignores these and undoes that for what it executes.
    assert [result.get(timeout=60) for result in results] == [OF_A_SHELL] * len(results)


def test_a_program_of_a_task_can_be_stopped(worker: RealWorker) -> None:
    sync = {number: programs.stop_a_program.enqueue(int(number)) for number in programs.STOPS}
    asynchronous = {number: programs.astop_a_program.enqueue(int(number)) for number in programs.STOPS}
    limited = programs.limit_a_program.enqueue()
    for number in programs.STOPS:
        assert sync[number].get(timeout=60) == -number
        assert asynchronous[number].get(timeout=60) == -number
    assert limited.get(timeout=60) == 124, "timeout has ended it"
    check_it_goes_on(worker)


def test_a_process_of_a_task_can_be_stopped(worker: RealWorker) -> None:
    forks = {number: programs.stop_a_fork.enqueue(int(number)) for number in (signal.SIGTERM, signal.SIGUSR1)}
    deep = programs.stop_a_fork_from_a_thread.enqueue(int(signal.SIGTERM))
    processes = {method: programs.stop_a_process.enqueue(method, int(signal.SIGTERM)) for method in METHODS}
    for number, result in forks.items():
        assert result.get(timeout=60) == number
    assert deep.get(timeout=60) == signal.SIGTERM
    for result in processes.values():
        assert result.get(timeout=60) == -signal.SIGTERM
    check_it_goes_on(worker)


def test_a_pool_of_a_task_ends(worker: RealWorker) -> None:
    results = [programs.use_a_pool.enqueue(method) for method in (*METHODS, *["fork"] * 5)]
    for result in results:
        assert result.get(timeout=60) == ([5, 4, 3, 2, 1], 0)
    check_it_goes_on(worker)


def check_it_goes_on(worker: RealWorker) -> None:
    """It has not taken for its own what was sent to others, and hears what is sent to it."""
    assert "Stopping" not in worker.output
    assert "Stacks of process" not in worker.output
    assert programs.limit_a_program.enqueue().get(timeout=60) == 124
    worker.send(signal.SIGUSR1)
    wait_for(lambda: "Stacks of process" in worker.output, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output


def test_what_a_receiver_in_the_beat_starts_begins_so_too(
    start_worker: Start, settings_with: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "hears_in_beat.py").write_text(
        "from django.apps import AppConfig\n"
        "class Hears(AppConfig):\n"
        "    name = 'hears_in_beat'\n"
        "    def ready(self):\n"
        "        from taskq_django.signals import before_enqueue\n"
        "        from tests.app.programs import receiver\n"
        "        before_enqueue.connect(receiver)\n"
    )
    env = settings_with(INSTALLED_APPS=[*settings.INSTALLED_APPS, "hears_in_beat.Hears"])
    Schedule.objects.create(name="soon", task_path="tests.app.tasks.add", kind="interval", spec="1s", args=[1])
    worker = start_worker("-B", "-X", "default", env=env).wait_until_ready()
    wait_for(QueuedJob.objects.exists, what=lambda: worker.output)
    headers: Any = QueuedJob.objects.values_list("headers", flat=True).first()
    assert repr(OF_A_SHELL) in str(headers)


@pytest.mark.parametrize("task", [programs.wait_for_a_program, programs.wait_for_a_program_that_is_too_slow])
def test_what_a_run_has_started_ends_with_the_process_that_ends_before_it(
    start_worker: Start, tmp_path: Path, task: Any
) -> None:
    task.enqueue(str(tmp_path / "pids"))
    worker = start_worker("--grace", "0.5").wait_until_ready()
    wait_for((tmp_path / "pids").exists, what=lambda: worker.output)
    if task is programs.wait_for_a_program:
        worker.send(signal.SIGTERM)
        assert worker.wait() == 3, worker.output
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2
    wait_for(lambda: not any(is_running(pid) for pid in pids), what=lambda: worker.output)


def is_running(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"

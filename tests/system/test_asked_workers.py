"""What a real worker does when somebody asks it to be quiet or to stop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from taskq_django import control
from taskq_django.models import Request, WorkerProcess, WorkerState
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, wait_for

pytestmark = pytest.mark.processes

Start = Callable[..., RealWorker]


def ask(request: Request | None, state: WorkerState) -> None:
    """And wait until it has heard."""
    worker = WorkerProcess.objects.get(supervisor=None)
    assert control.ask_worker(worker.id, request, "default")
    wait_for(lambda: WorkerProcess.objects.get(id=worker.id).state == state)


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_quiet_worker_begins_nothing_and_ends_what_runs(
    start_worker: Start, hasty: dict[str, str], tmp_path: Path, processes: str
) -> None:
    start_worker("-p", processes, "--no-reload", env=hasty).wait_until_ready()
    assert tasks.add.enqueue(1).get(timeout=60) == 3
    gate = Gate(tmp_path / "gate")
    running = tasks.wait_at.enqueue(str(gate))
    wait_for(gate.is_reached)

    ask(Request.QUIET, WorkerState.QUIET)
    waiting = tasks.add.enqueue(2)
    gate.open()
    running.get(timeout=60)
    waiting.refresh()
    assert waiting.state is State.READY

    ask(None, WorkerState.SERVING)
    assert waiting.get(timeout=60) == 4


def test_a_worker_of_one_process_stays_quiet_after_a_run_that_does_not_come_back(
    start_worker: Start, hasty: dict[str, str], ledger: Ledger
) -> None:
    worker = start_worker("-p", "0", "--no-reload", env=hasty).wait_until_ready()
    stuck = tasks.swallow_for_ever.enqueue(str(ledger.path))
    wait_for(ledger.running, what=lambda: worker.output)
    ask(Request.QUIET, WorkerState.QUIET)
    before = WorkerProcess.objects.get(supervisor=None).id

    waiting = tasks.add.enqueue(2)
    stuck.cancel()
    rows = WorkerProcess.objects.filter(supervisor=None).exclude(id=before)
    wait_for(rows.exists, what=lambda: worker.output)
    some_signs_of_life_later = rows.get().started_at + timedelta(seconds=0.5)
    wait_for(rows.filter(seen_at__gt=some_signs_of_life_later).exists, what=lambda: worker.output)
    waiting.refresh()
    assert (rows.get().state, waiting.state) == (WorkerState.QUIET, State.READY)

    ask(None, WorkerState.SERVING)
    assert waiting.get(timeout=60) == 4


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_worker_that_is_asked_to_stop_ends_as_by_a_signal(
    start_worker: Start, hasty: dict[str, str], tmp_path: Path, processes: str
) -> None:
    worker = start_worker("-p", processes, "--no-reload", env=hasty).wait_until_ready()
    gate = Gate(tmp_path / "gate")
    running = tasks.wait_at.enqueue(str(gate))
    wait_for(gate.is_reached)

    ask(Request.STOP, WorkerState.STOPPING)
    gate.open()

    assert worker.wait() == 0
    running.refresh()
    assert running.state is State.SUCCESSFUL
    assert not WorkerProcess.objects.exists()
    assert "Somebody has asked this worker to stop" in worker.output

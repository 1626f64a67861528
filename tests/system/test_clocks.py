"""A clock that is put forward or back under running workers: nobody who lives is accused, who dies is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, connections

from taskq_django.models import JobResult, WorkerProcess
from tests.app import tasks
from tests.support.clocks import HostClock, PostgreSQLClock
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.workers import ROOT, RealWorker, wait_for
from tests.system.conftest import HASTY, LEASE
from tests.system.test_crashes import wait_for_end

Start = Callable[..., RealWorker]
Step = Callable[[float], None]

STEPS = pytest.mark.parametrize("seconds", [3600.0, -3600.0, 86_400.0, -86_400.0, 60.0, -60.0, 1.0, -1.0])


@pytest.fixture
def host(tmp_path: Path) -> HostClock:
    """For services whose own clock steps when it is told to; for SQLite it is the database's as well."""
    return HostClock(tmp_path)


@pytest.fixture
def stepping(
    host: HostClock, settings_with: Callable[..., dict[str, str]], transactional_db: None
) -> Iterator[tuple[dict[str, str], Step]]:
    """The environment of workers whose database has a clock that steps when it is told to."""
    if connection.vendor == "sqlite":
        yield {**settings_with(TASKQ={"WORKER": HASTY}), **host.env}, host.step
        return
    if connection.vendor != "postgresql":
        pytest.skip("a server with one clock for all: tests/worker/test_lease.py")
    clock = PostgreSQLClock()
    entry = dict(settings.DATABASES["default"])
    entry["OPTIONS"] = {**entry.get("OPTIONS", {}), "options": f"-c search_path={clock.SEARCH_PATH}"}
    entry["NAME"] = connections["default"].settings_dict["NAME"]
    yield settings_with(DATABASES={"default": entry}, TASKQ={"WORKER": HASTY}), clock.step
    clock.remove()


@STEPS
def test_a_step_of_the_databases_clock_begins_no_job_again(
    start_worker: Start, ledger: Ledger, stepping: tuple[dict[str, str], Step], seconds: float
) -> None:
    env, step = stepping
    workers = [start_worker("-t", "3", env=env).wait_until_ready() for _ in range(2)]
    wait_for(lambda: WorkerProcess.objects.filter(supervisor=None).count() == 2)
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 1.5 * LEASE)] * 6)
    wait_for(lambda: len(ledger.running()) == 6, what=lambda: workers[0].output)
    step(seconds)
    wait_for_end(workers[0], *jobs)
    assert ledger.started() == 6, "\n".join(worker.output for worker in workers)
    assert set(JobResult.objects.values_list("status", "attempts", "crashes")) == {("SUCCESSFUL", 1, 0)}
    for worker in workers:
        assert "counts as lost" not in worker.output
        assert "under a new id" not in worker.output


@STEPS
def test_who_dies_about_a_step_is_made_good_within_a_lease_of_it(
    start_worker: Start, ledger: Ledger, stepping: tuple[dict[str, str], Step], tmp_path: Path, seconds: float
) -> None:
    env, step = stepping
    gate = Gate(tmp_path / "gate")
    killed = start_worker("-t", "2", env=env).wait_until_ready()
    wait_for(killed.children)
    other = start_worker("-t", "2", "-X", "default", env=env).wait_until_ready()  # looks after the dead only
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 2)
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: killed.output)
    killed_at = time.monotonic()
    killed.send_to_group(signal.SIGKILL)
    step(seconds)
    gate.open()
    third = start_worker(env=env).wait_until_ready()
    wait_for_end(third, *jobs)
    assert not ledger.lost({job.id for job in jobs})
    assert max(ledger.recovery(killed_at)) < 50, f"a lease and a start, and no step of a minute: {other.output}"


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_worker_whose_host_has_a_wrong_clock_accuses_nobody_and_is_not_accused(
    start_worker: Start,
    ledger: Ledger,
    hasty: dict[str, str],
    host: HostClock,
    tmp_path: Path,
    seconds: float,
) -> None:
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    right = start_worker("-t", "2", env=hasty).wait_until_ready()
    wrong = start_worker("-t", "2", env={**hasty, **host.env, "PYTHONPATH": path}).wait_until_ready()
    wait_for(lambda: WorkerProcess.objects.filter(supervisor=None).count() == 2)
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 1.5 * LEASE)] * 4)
    wait_for(lambda: len(ledger.running()) == 4, what=lambda: wrong.output)
    host.step(seconds)
    wait_for_end(right, *jobs)
    assert ledger.started() == 4, f"{right.output}\n{wrong.output}"
    assert "counts as lost" not in right.output + wrong.output

"""The database goes away and comes back: no worker ends, nothing is lost, nothing is done twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections

from taskq_django.models import JobResult, QueuedJob
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.proxy import FaultProxy
from tests.support.workers import RealWorker, cut_other_connections, wait_for
from tests.system.conftest import HASTY, LEASE
from tests.system.test_crashes import wait_for_end

Start = Callable[..., RealWorker]

pytestmark = [
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could go away"),
]


@pytest.fixture
def behind(proxy: FaultProxy, settings_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    """The environment of workers that reach the database through the proxy."""
    databases = {alias: _through(proxy, entry) for alias, entry in settings.DATABASES.items()}
    return settings_with(DATABASES=databases, TASKQ={"WORKER": HASTY})


def _through(proxy: FaultProxy, entry: dict[str, Any]) -> dict[str, Any]:
    known = ("ENGINE", "HOST", "USER", "PASSWORD", "OPTIONS")
    name = connections["default"].settings_dict["NAME"]
    return {**{key: entry[key] for key in known if key in entry}, "HOST": "127.0.0.1", "PORT": proxy.port, "NAME": name}


def test_workers_survive_an_outage_and_settle_what_they_held(
    start_worker: Start, ledger: Ledger, proxy: FaultProxy, behind: dict[str, str]
) -> None:
    workers = [start_worker("-t", "3", env=behind).wait_until_ready() for _ in range(2)]
    wait_for(lambda: all(worker.children() for worker in workers))
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.5)] * 12)
    wait_for(lambda: len(ledger.running()) >= 4, what=lambda: workers[0].output)
    proxy.take_down()
    begun_at = time.monotonic()
    wait_for(lambda: all(worker.output.count("next try in") >= 5 for worker in workers), what=lambda: workers[0].output)
    wait_for(lambda: not ledger.running() and time.monotonic() > begun_at + LEASE + 1, what=lambda: workers[0].output)
    proxy.bring_up()
    wait_for_end(workers[0], *jobs)

    assert {worker.process.poll() for worker in workers} == {None}
    assert not ledger.lost({job.id for job in jobs})
    assert ledger.duplicated() == 0, "\n".join(worker.output for worker in workers)
    assert set(JobResult.objects.values_list("status", "attempts")) == {("SUCCESSFUL", 1)}
    for worker in workers:
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert "Traceback" not in worker.output


def test_a_worker_that_is_cut_off_and_not_told_changes_nothing_when_it_is_back(
    start_worker: Start,
    ledger: Ledger,
    proxy: FaultProxy,
    behind: dict[str, str],
    hasty: dict[str, str],
    tmp_path: Path,
) -> None:
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 12)
    late = start_worker("-t", "2", env=behind).wait_until_ready()
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: late.output)
    cut_off = {run.pid for story in ledger.stories().values() for run in story.runs}
    proxy.swallow()
    gate.open()
    other = start_worker("-t", "3", env=hasty).wait_until_ready()
    wait_for_end(other, *jobs)
    before = set(JobResult.objects.values_list("id", "worker_id", "attempts", "finished_at"))
    proxy.bring_up()
    wait_for(lambda: "under a new id" in late.output, what=lambda: late.output)
    wait_for(lambda: not ledger.running(), what=lambda: late.output)

    assert set(JobResult.objects.values_list("id", "worker_id", "attempts", "finished_at")) == before
    assert not ledger.lost({job.id for job in jobs})
    assert ledger.duplicated() <= 2, "what ran when it was cut off"
    other.send(signal.SIGTERM)
    assert other.wait() == 0
    assert tasks.my_pid.enqueue().get(timeout=60) not in cut_off, late.output
    late.send(signal.SIGTERM)
    assert late.wait() == 0, late.output


@pytest.mark.parametrize("task", [tasks.add, tasks.explode], ids=["success", "failure"])
def test_a_settle_whose_commit_nobody_answers_is_neither_lost_nor_doubled(
    start_worker: Start, proxy: FaultProxy, behind: dict[str, str], task: Any
) -> None:
    worker = start_worker(env=behind).wait_until_ready()
    assert tasks.add.enqueue(1).get(timeout=60) == 3
    # The words with which a group of outcomes is written down.
    proxy.cut_after = b'INSERT INTO [`"]?taskq_django_jobresult|COMMIT'
    job = task.enqueue(*([1] if task is tasks.add else []))
    wait_for(lambda: proxy.cuts == 1, what=lambda: worker.output)
    wait_for_end(worker, job)
    assert (job.attempts, JobResult.objects.count(), QueuedJob.objects.count()) == (1, 2, 0)
    assert "lost task=" not in worker.output


@pytest.mark.parametrize("count", [1, 50])
def test_an_enqueue_whose_commit_nobody_answers_is_made_once(
    transactional_db: None, proxy: FaultProxy, count: int
) -> None:
    through = connections.create_connection("default")
    through.settings_dict = {**through.settings_dict, "HOST": "127.0.0.1", "PORT": proxy.port}
    direct = connections["default"]
    connections["default"] = through
    try:
        through.ensure_connection()
        proxy.cut_after = b'INSERT INTO [`"]?taskq_django_queuedjob|COMMIT'
        results = tasks.add.enqueue_many([(n,) for n in range(count)])
        assert proxy.cuts == 1
        proxy.take_down()
        with pytest.raises(OperationalError):
            tasks.add.enqueue(1)
    finally:
        through.close()
        connections["default"] = direct
    assert QueuedJob.objects.count() == count
    assert {result.state for result in results} == {State.READY}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a database that can be made read-only by itself")
def test_a_server_that_has_become_read_only_is_an_outage(start_worker: Start) -> None:
    name = connection.ops.quote_name(str(connection.settings_dict["NAME"]))
    worker = start_worker().wait_until_ready()
    assert tasks.add.enqueue(1).get(timeout=60) == 3
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")  # for sessions to come
    cut_other_connections()
    job = tasks.add.enqueue(2)
    wait_for(lambda: worker.output.count("read-only transaction") >= 2, what=lambda: worker.output)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert job.get(timeout=60) == 4
    assert worker.process.poll() is None
    assert "Traceback" not in worker.output

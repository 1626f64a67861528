"""Jobs and results at the limit of size: a worker's memory stays flat, and every one of them ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection, transaction

from taskq_django import control
from taskq_django.compat import task_backends
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.store.weights import MOST_KEPT
from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.servers import Server
from tests.support.workers import RealWorker, wait_for

Start = Callable[..., RealWorker]

MOST = 400  # MiB


def peak(pid: int) -> int:
    """The most MiB of memory that a process has used so far."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


def drain(start_worker: Start) -> int:
    """Let a worker run everything there is; returns the peak of its process."""
    worker = start_worker().wait_until_ready()
    wait_for(lambda: not QueuedJob.objects.exists(), timeout=200, what=lambda: worker.output[-3000:])
    assert "cannot be used" not in worker.output
    (child,) = worker.children()
    return peak(child)


@pytest.fixture
def many_light_ones(transactional_db: None) -> None:
    """They come first: of such a worker takes hundreds at a time."""
    tasks.add.enqueue_many([(1,)] * 2000)


@pytest.mark.processes
@pytest.mark.usefixtures("many_light_ones")
@pytest.mark.parametrize("text", ['"', "🙂"])  # the longest when written, and the widest in memory
def test_a_worker_stays_small_whatever_its_tasks_return(start_worker: Start, text: str) -> None:
    length = 1_040_000 // {'"': 2}.get(text, len(text.encode()))
    large = tasks.repeat.enqueue_many([(text, length)] * 120)
    assert drain(start_worker) < MOST
    assert JobResult.objects.filter(pk__in=large.ids, status="SUCCESSFUL").count() == len(large)
    assert large[-1].get() == text * length


@pytest.mark.processes
@pytest.mark.usefixtures("many_light_ones")
@pytest.mark.parametrize("text", ['"', "🙂"])  # the longest when written, and the widest in memory
def test_a_worker_stays_small_whatever_its_tasks_are_given(start_worker: Start, text: str) -> None:
    length = 1_040_000 // {'"': 2}.get(text, len(text.encode()))
    for _ in range(10):
        large = tasks.length_of.enqueue_many([(text * length,)] * 10)
    assert drain(start_worker) < MOST
    assert JobResult.objects.filter(status="SUCCESSFUL").count() == 2100
    assert large[-1].get() == length


@pytest.mark.processes
@pytest.mark.usefixtures("many_light_ones")
def test_a_worker_stays_small_whatever_its_coroutines_carry(start_worker: Start) -> None:
    for _ in range(10):
        large = tasks.aecho.enqueue_many([("x" * 1_000_000,)] * 12)
    assert drain(start_worker) < MOST
    assert JobResult.objects.filter(status="SUCCESSFUL").count() == 2120
    assert large[-1].get() == "x" * 1_000_000


@pytest.mark.processes
@pytest.mark.usefixtures("many_light_ones")
def test_a_worker_holds_few_large_jobs_beyond_those_that_it_runs(start_worker: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    large = tasks.wait_at.enqueue_many([(str(gate), "x" * 1_000_000)] * 100)
    worker = start_worker().wait_until_ready()
    wait_for(lambda: "released" in worker.output, what=lambda: worker.output[-3000:])  # they have waited for a seat
    gate.touch()
    wait_for(lambda: not QueuedJob.objects.exists(), timeout=200, what=lambda: worker.output[-3000:])
    gone_back = set(re.findall(r"released task=\S+ id=(\S+)", worker.output))
    assert 0 < len(gone_back) <= 2 * MOST_KEPT // 1_000_000
    assert JobResult.objects.filter(pk__in=large.ids, status="SUCCESSFUL", attempts=1).count() == len(large)


@pytest.mark.processes
def test_a_worker_stays_small_whatever_its_tasks_raise(start_worker: Start) -> None:
    tasks.fail_at_length.enqueue_many([("話\x01", 50_000)] * 200)
    assert drain(start_worker) < MOST
    assert (JobResult.objects.filter(status="FAILED").count(), JobAttempt.objects.count()) == (200, 400)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server")
def test_a_worker_stays_small_while_its_results_wait_for_the_store(
    start_worker: Start, server: Server, there: dict[str, str], ledger: Ledger
) -> None:
    worker = start_worker(env=there).wait_until_ready()
    tasks.add.enqueue_many([(1,)] * 2000)
    wait_for(lambda: not QueuedJob.objects.exists(), what=lambda: worker.output[-3000:])
    jobs = tasks.ledgered_large.enqueue_many([(str(ledger.path), 0.0, 1_000_000)] * 120)
    wait_for(lambda: ledger.started() >= 10, what=lambda: worker.output[-3000:])
    server.kill()
    wait_for(lambda: "(3)" in worker.output and not ledger.running(), what=lambda: worker.output[-3000:])
    held = ledger.started()
    connection.close()
    server.start()
    wait_for(lambda: not QueuedJob.objects.exists(), timeout=200, what=lambda: worker.output[-3000:])
    (child,) = worker.children()
    assert held < len(jobs)
    assert peak(child) < MOST
    assert ledger.duplicated() == 0
    assert JobResult.objects.filter(pk__in=jobs.ids, status="SUCCESSFUL", attempts=1).count() == len(jobs)


def test_six_hundred_large_jobs_are_enqueued_in_one_transaction(transactional_db: None) -> None:
    text = "x" * 1_000_000
    with transaction.atomic():
        sent = tasks.length_of.enqueue_many([(text,)] * 600)
    assert QueuedJob.objects.filter(status="READY").count() == len(sent) == 600
    with transaction.atomic():
        control.purge("default", task_backends["default"].broker)  # type: ignore[attr-defined]

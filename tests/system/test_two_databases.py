"""A worker that serves two backends on two databases: what happens to one of them costs the other nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections

from taskq_django.models import JobResult, QueuedJob, WorkerProcess
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.proxy import FaultProxy
from tests.support.workers import RealWorker, wait_for

Start = Callable[..., RealWorker]

pytestmark = [
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could go away"),
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]
KINDS = pytest.mark.parametrize("flags", [("-p", "2"), ("-p", "0")], ids=" ".join)
BACKEND = "taskq_django.TaskqBackend"


@pytest.fixture
def half_behind(half_behind_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    return half_behind_with(HEARTBEAT=0.2, LEASE=1.5, MAINTENANCE=0.2)


@pytest.fixture
def half_behind_with(proxy: FaultProxy, settings_with: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """The environment of workers that reach their second database through the proxy."""
    known = ("ENGINE", "HOST", "USER", "PASSWORD", "OPTIONS")
    databases: dict[str, dict[str, Any]] = {}
    for alias in ("default", "other"):
        entry = settings.DATABASES[alias]
        databases[alias] = {key: entry[key] for key in known if key in entry}
        databases[alias]["PORT"] = entry["PORT"]
        databases[alias]["NAME"] = connections[alias].settings_dict["NAME"]
    databases["other"] |= {"HOST": "127.0.0.1", "PORT": proxy.port}
    both = {
        "default": {"BACKEND": BACKEND},
        "second": {"BACKEND": BACKEND, "OPTIONS": {"broker": "database://other"}},
    }
    return lambda **worker: settings_with(DATABASES=databases, TASKS=both, TASKQ={"WORKER": worker})


@pytest.fixture(autouse=True)
def second_backend(settings: Any) -> None:
    settings.TASKS = {**settings.TASKS, "second": {"BACKEND": BACKEND, "OPTIONS": {"broker": "database://other"}}}


def ended(database: str) -> int:
    return JobResult.objects.using(database).filter(status="SUCCESSFUL").count()


def wait_for_all(worker: RealWorker, database: str, count: int) -> None:
    wait_for(
        lambda: ended(database) == count and not QueuedJob.objects.using(database).exists(),
        what=lambda: worker.output[-3000:],
    )


@KINDS
def test_while_one_is_away_the_other_is_served_and_nothing_is_lost(
    start_worker: Start, ledger: Ledger, proxy: FaultProxy, half_behind: dict[str, str], flags: tuple[str, ...]
) -> None:
    worker = start_worker("-t", "2", *flags, env=half_behind).wait_until_ready()
    caught = tasks.ledgered.using(backend="second").enqueue_many([(str(ledger.path), 0.5)] * 4)
    wait_for(lambda: len(ledger.running()) >= 2, what=lambda: worker.output)
    proxy.take_down()
    for count in (20, 40):  # more than once: not what had been claimed before
        tasks.add.enqueue_many([(number,) for number in range(20)])
        wait_for_all(worker, "default", count)
    # For longer than the lease, and until what ran has ended.
    wait_for(lambda: worker.output.count("next try in") >= 15 and not ledger.running(), what=lambda: worker.output)
    tasks.add.enqueue(1)
    wait_for_all(worker, "default", 41)

    proxy.bring_up()
    wait_for_all(worker, "other", len(caught))
    assert ledger.duplicated() == 0
    more = tasks.add.using(backend="second").enqueue(1)
    wait_for_all(worker, "other", len(caught) + 1)
    assert more.get() == 3
    assert worker.process.poll() is None
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output


@KINDS
def test_while_one_is_silent_the_other_is_served_most_of_the_time(
    start_worker: Start, proxy: FaultProxy, half_behind_with: Callable[..., dict[str, str]], flags: tuple[str, ...]
) -> None:
    """It takes what is sent and answers nothing: each try of it takes seconds, in which nobody else is served."""
    worker = start_worker(*flags, env=half_behind_with(HEARTBEAT=1, LEASE=6, MAINTENANCE=1)).wait_until_ready()
    proxy.swallow()
    for count in (20, 40):
        wait_for(lambda least=count / 20: worker.output.count("next try in") >= least, what=lambda: worker.output)
        tasks.add.enqueue_many([(number,) for number in range(20)])
        wait_for_all(worker, "default", count)
    assert "counted this worker as lost" not in worker.output

    proxy.bring_up()
    tasks.add.using(backend="second").enqueue(1)
    wait_for_all(worker, "other", 1)


@KINDS
def test_a_worker_that_starts_while_one_is_away_serves_the_other_and_both_once_it_is_back(
    start_worker: Start, proxy: FaultProxy, half_behind: dict[str, str], flags: tuple[str, ...]
) -> None:
    tasks.add.using(backend="second").enqueue(1)
    proxy.take_down()
    worker = start_worker(*flags, env=half_behind).wait_until_ready()
    tasks.add.enqueue_many([(number,) for number in range(20)])
    wait_for_all(worker, "default", 20)

    proxy.bring_up()
    wait_for_all(worker, "other", 1)
    assert WorkerProcess.objects.using("other").filter(supervisor=None).count() == 1


def test_a_death_while_one_is_away_is_rescued_on_the_other_at_once_and_there_when_it_is_back(
    start_worker: Start, ledger: Ledger, proxy: FaultProxy, half_behind: dict[str, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    worker = start_worker("-p", "1", "-t", "4", env=half_behind).wait_until_ready()
    here = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 2)
    there = tasks.ledgered_at.using(backend="second").enqueue_many([(str(ledger.path), str(gate))] * 2)
    wait_for(lambda: len(ledger.running()) == 4, what=lambda: worker.output)
    proxy.take_down()
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    gate.open()
    wait_for_all(worker, "default", len(here))

    proxy.bring_up()
    wait_for_all(worker, "other", len(there))
    crashes = [
        set(JobResult.objects.using(database).values_list("attempts", "crashes")) for database in ("default", "other")
    ]
    assert crashes == [{(2, 1)}, {(2, 1)}]


@KINDS
def test_a_stop_while_one_is_away_gives_the_rest_back_on_the_other(
    start_worker: Start, ledger: Ledger, proxy: FaultProxy, half_behind: dict[str, str], flags: tuple[str, ...]
) -> None:
    worker = start_worker("-t", "2", "--grace", "0.5", *flags, env=half_behind).wait_until_ready()
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 20.0)] * 2)
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: worker.output)
    proxy.take_down()
    worker.send(signal.SIGTERM)
    worker.wait()
    assert QueuedJob.objects.filter(status="READY").count() == len(jobs), worker.output


def test_results_of_one_that_is_away_do_not_keep_the_other_from_beginning(
    start_worker: Start, ledger: Ledger, proxy: FaultProxy, half_behind: dict[str, str]
) -> None:
    """They fill all the memory that results may take."""
    worker = start_worker("-p", "1", "-t", "4", env=half_behind).wait_until_ready()
    tasks.add.using(backend="second").enqueue_many([(1,)] * 1000)  # light ones: of such it takes many ahead
    large = tasks.ledgered_large.using(backend="second").enqueue_many([(str(ledger.path), 0.0, 1_000_000)] * 60)
    wait_for(lambda: ledger.started() >= 4, what=lambda: worker.output)
    proxy.take_down()
    tasks.add.enqueue_many([(number,) for number in range(200)])
    wait_for_all(worker, "default", 200)

    proxy.bring_up()
    wait_for_all(worker, "other", 1000 + len(large))
    assert ledger.duplicated() == 0


def test_a_process_that_is_replaced_while_one_is_away_keeps_what_has_ended_for_it(
    start_worker: Start, ledger: Ledger, proxy: FaultProxy, half_behind: dict[str, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    limits = ("-p", "1", "-t", "2", "--grace", "0.5", "--max-tasks-per-child", "4")
    worker = start_worker(*limits, env=half_behind).wait_until_ready()
    there = tasks.ledgered_at.using(backend="second").enqueue_many([(str(ledger.path), str(gate))] * 2)
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: worker.output)
    proxy.take_down()
    gate.open()
    here = tasks.ledgered.enqueue_many([(str(ledger.path), 2.0)] * 8)  # for longer than the grace, and five seconds
    wait_for_all(worker, "default", len(here))
    assert len(set(worker.children())) > 1, "the one that waits is there beside the one in its place"

    proxy.bring_up()
    wait_for_all(worker, "other", len(there))
    assert ledger.duplicated() == 0
    assert "it is killed" not in worker.output


@KINDS
def test_a_burst_ends_when_those_that_answer_have_nothing_left_and_says_that_not_all_is_done(
    start_worker: Start, proxy: FaultProxy, half_behind: dict[str, str], flags: tuple[str, ...]
) -> None:
    tasks.add.enqueue_many([(number,) for number in range(20)])
    tasks.add.using(backend="second").enqueue(1)
    proxy.take_down()
    worker = start_worker("--burst", *flags, env=half_behind)
    assert worker.wait() == 69, worker.output
    assert ended("default") == 20
    assert "Not all is done" in worker.output
    assert QueuedJob.objects.using("other").filter(status="READY").count() == 1

"""A Redis that is killed, mute, full or forgetful: what goes on meanwhile, and what is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from taskq_django import Result
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.models import JobResult, QueuedJob, WorkerProcess
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.redis_servers import Redis, eventually, started_or_skipped
from tests.support.servers import Server
from tests.support.workers import RealWorker, wait_for
from tests.system.conftest import BACKEND
from tests.system.test_crashes import wait_for_end
from tests.system.test_messages import OnBroker, Start, assert_empty

pytestmark = pytest.mark.processes

DUE = timedelta(0)


@pytest.fixture
def forgetful() -> Iterator[Redis]:
    """A Redis that keeps nothing on a disk."""
    server = started_or_skipped()
    yield server
    server.thaw()
    server.remove()


@pytest.fixture
def muted(redis_server: Redis) -> Iterator[Callable[[], None]]:
    """Mutes the private Redis: it takes what is sent, and answers nothing."""
    yield redis_server.freeze
    redis_server.thaw()


def is_away(worker: RealWorker) -> bool:
    return "serves the store alone" in worker.output


def check_each_ran_once(workers: list[RealWorker], ledger: Ledger, jobs: list) -> None:  # type: ignore[type-arg]
    for worker in workers:
        wait_for_end(worker, *jobs)
    logs = "\n---\n".join(worker.output[-5000:] for worker in workers)
    assert not ledger.lost({job.id for job in jobs})
    assert ledger.duplicated() == 0, logs
    assert {(job.state, job.attempts) for job in jobs} == {(State.SUCCESSFUL, 1)}, logs
    assert {worker.process.poll() for worker in workers} == {None}
    assert "counted this worker as lost" not in logs, logs
    for worker in workers:
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
        assert "Traceback" not in worker.output, worker.output


def test_a_killed_redis_that_writes_each_command_down_costs_no_job(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger
) -> None:
    workers = [start_worker("-t", "3", env=on_redis).wait_until_ready() for _ in range(2)]
    jobs: list[Result[Any]] = []
    for _ in range(3):
        seen = ledger.started()
        jobs += tasks.ledgered.enqueue_many([(str(ledger.path), 0.2)] * 20)  # each time: they may all have ended
        wait_for(lambda seen=seen: ledger.started() >= seen + 4, what=lambda: workers[0].output)  # type: ignore[misc]
        redis_server.kill()
        wait_for(lambda: not ledger.running(), what=lambda: workers[0].output)
        redis_server.start()
    check_each_ran_once(workers, ledger, jobs)
    assert_empty(redis_server)


def test_short_jobs_run_once_though_redis_is_killed_as_they_end(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger
) -> None:
    workers = [start_worker("-t", "3", env=on_redis).wait_until_ready() for _ in range(2)]
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.0)] * 1500)
    for part in range(4):
        wait_for(lambda part=part: ledger.started() >= part * 200 + 50, what=lambda: workers[0].output)  # type: ignore[misc]
        redis_server.kill()
        redis_server.start()
    wait_for(lambda: JobResult.objects.count() == len(jobs), timeout=60, what=lambda: workers[0].output[-5000:])
    check_each_ran_once(workers, ledger, jobs[::50])
    assert ledger.started() == len(jobs)
    assert_empty(redis_server)


def test_a_redis_that_keeps_nothing_forgets_what_waits_in_it_and_nothing_else(
    start_worker: Start, on_broker: OnBroker, forgetful: Redis, ledger: Ledger, tmp_path: Path
) -> None:
    env = on_broker(forgetful.url)
    worker = start_worker("-t", "3", env=env).wait_until_ready()
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 20)
    row = tasks.ledgered.using(run_after=timedelta(seconds=2)).enqueue(str(ledger.path), 0.0)
    wait_for(lambda: len(ledger.running()) == 3, what=lambda: worker.output)
    with forgetful.client() as client:
        held = {id_.decode() for key in client.keys("taskq:{default}:h:*") for id_ in client.hkeys(key)}
    forgetful.kill()
    forgetful.start()
    gate.open()
    kept = [job for job in jobs if job.id in held]
    wait_for(lambda: JobResult.objects.count() == len(kept) + 1, what=lambda: worker.output)
    after = tasks.ledgered.enqueue(str(ledger.path), 0.0)
    wait_for_end(worker, after)
    assert set(JobResult.objects.values_list("status", flat=True)) == {State.SUCCESSFUL}
    assert JobResult.objects.filter(id=row.id).exists()
    assert ledger.lost({job.id for job in jobs}) == {job.id for job in jobs} - held
    assert ledger.duplicated() == 0


def test_while_redis_is_down_rows_and_other_backends_are_served(
    start_worker: Start, on_broker: OnBroker, redis_server: Redis, ledger: Ledger
) -> None:
    worker = start_worker(env=on_broker(redis_server.url, others={"second": "database://"})).wait_until_ready()
    first = tasks.ledgered.enqueue(str(ledger.path), 0.0)
    wait_for_end(worker, first)
    redis_server.kill()
    wait_for(lambda: is_away(worker), what=lambda: worker.output)
    row = tasks.ledgered.using(run_after=timedelta(seconds=0.5)).enqueue(str(ledger.path), 0.0)
    other = tasks.ledgered.using(backend="second").enqueue(str(ledger.path), 0.0)
    wait_for_end(worker, row, other)
    with pytest.raises(BrokerUnavailable):
        tasks.ledgered.enqueue(str(ledger.path), 0.0)
    redis_server.start()
    last = eventually(lambda: _enqueued(ledger))
    check_each_ran_once([worker], ledger, [first, row, other, last])


def _enqueued(ledger: Ledger):  # type: ignore[no-untyped-def]
    try:
        return tasks.ledgered.enqueue(str(ledger.path), 0.0)
    except BrokerUnavailable:
        return None


@pytest.mark.parametrize("how", ["killed", "muted"])
def test_while_redis_is_away_the_dead_are_rescued_on_other_backends(
    start_worker: Start,
    on_broker: OnBroker,
    redis_server: Redis,
    muted: Callable[[], None],
    ledger: Ledger,
    tmp_path: Path,
    how: str,
) -> None:
    # With a lease as long as usual, because nothing is waited for longer than a part of it.
    gate = Gate(tmp_path / "gate")
    env = on_broker(redis_server.url, others={"second": "database://"}, worker={"LEASE": 30.0})
    worker = start_worker("-p", "2", "-t", "3", env=env)
    given = (str(ledger.path), str(gate))
    there = tasks.ledgered_at.enqueue_many([given] * 2)
    here = tasks.ledgered_at.using(backend="second").enqueue_many([given] * 3)
    row = tasks.ledgered_at.using(run_after=DUE).enqueue(*given)
    wait_for(lambda: len(ledger.running()) == 6, what=lambda: worker.output)
    children = {WorkerProcess.objects.get(pid=pid).id: pid for pid in worker.children()}
    redis_server.kill() if how == "killed" else muted()
    for id_, pid in children.items():  # the second one while Redis is asked for what the first one held there
        rows = QueuedJob.objects.filter(worker_id=id_)
        assert rows.exists()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda rows=rows: not rows.exists(), timeout=25, what=lambda: worker.output)  # type: ignore[misc]
    gate.open()
    wait_for_end(worker, row, *here)
    redis_server.start() if how == "killed" else redis_server.thaw()
    wait_for_end(worker, *there)
    assert {(job.state, job.attempts) for job in [row, *here, *there]} == {(State.SUCCESSFUL, 2)}
    assert set(JobResult.objects.values_list("crashes", flat=True)) == {1}, worker.output
    assert_empty(redis_server)


def test_an_engine_that_was_away_at_the_start_is_looked_at_once_it_answers(
    start_worker: Start, on_broker: OnBroker, forgetful: Redis, ledger: Ledger
) -> None:
    forgetful.kill()
    forgetful.options["maxmemory-policy"] = "allkeys-lru"
    worker = start_worker("-t", "3", env=on_broker(forgetful.url)).wait_until_ready()
    forgetful.start()
    wait_for(lambda: "allkeys-lru" in worker.output, what=lambda: worker.output)
    (line,) = [line for line in worker.output.splitlines() if "allkeys-lru" in line]
    assert "ERROR" in line
    assert 'TASKS["default"]: Redis at 127.0.0.1:' in line
    with forgetful.client() as client:  # after more than one turn of the maintenance
        asked = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        wait_for(lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"] > asked + 10)
    assert worker.output.count("allkeys-lru") == 1
    wait_for_end(worker, eventually(lambda: _enqueued(ledger)))


def test_while_redis_is_down_the_jobs_of_a_lost_host_run_on_other_backends(
    start_worker: Start, on_broker: OnBroker, redis_server: Redis, ledger: Ledger, tmp_path: Path
) -> None:
    env = on_broker(redis_server.url, others={"second": "database://"})
    lost = start_worker("-t", "4", env=env).wait_until_ready()
    gate = Gate(tmp_path / "gate")
    there = tasks.ledgered_at.enqueue(str(ledger.path), str(gate))
    here = tasks.ledgered_at.using(backend="second").enqueue(str(ledger.path), str(gate))
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: lost.output)
    redis_server.kill()
    lost.send_to_group(signal.SIGKILL)
    lost.process.wait()
    gate.open()
    other = start_worker("-t", "4", env=env)
    wait_for_end(other, here)
    redis_server.start()
    wait_for_end(other, there)
    assert {(job.state, job.attempts) for job in [here, there]} == {(State.SUCCESSFUL, 2)}
    assert_empty(redis_server)


def test_a_mute_redis_costs_no_worker_its_lease(
    start_worker: Start, on_broker: OnBroker, redis_server: Redis, muted: Callable[[], None], ledger: Ledger
) -> None:
    env = on_broker(redis_server.url, others={"second": "database://"})
    mine, other = (
        start_worker("-t", "3", *flags, env=env).wait_until_ready() for flags in ((), ("--backend", "second"))
    )
    workers = [mine, other]
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.2)] * 40)
    wait_for(lambda: len(ledger.running()) >= 3, what=lambda: mine.output)
    muted()
    wait_for(lambda: is_away(mine), what=lambda: mine.output)
    rows = tasks.ledgered.using(run_after=DUE).enqueue_many([(str(ledger.path), 0.0)] * 20)
    others = tasks.ledgered.using(backend="second").enqueue_many([(str(ledger.path), 0.0)] * 20)
    wait_for_end(mine, *rows, *others)
    wait_for(lambda: not ledger.running(), what=lambda: mine.output)
    (child,) = mine.children()
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: mine.output.count("wait to be rescued") >= 2, what=lambda: mine.output)
    redis_server.thaw()
    check_each_ran_once(workers, ledger, [*jobs, *rows, *others])
    assert_empty(redis_server)


def test_a_full_redis_refuses_what_is_new_and_what_is_in_it_runs(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger
) -> None:
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.0)] * 200)
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(BrokerUnavailable, match="is full"):
                tasks.ledgered.enqueue(str(ledger.path), 0.0)
            worker = start_worker("-t", "3", env=on_redis)
            wait_for_end(worker, *jobs)
        finally:
            client.config_set("maxmemory", "0")
    last = eventually(lambda: _enqueued(ledger))
    check_each_ran_once([worker], ledger, [*jobs, last])
    assert_empty(redis_server)


@pytest.mark.once
@pytest.mark.parametrize("how", ["killed", "muted"])
def test_an_enqueue_waits_three_seconds_and_those_after_it_not_at_all(
    transactional_db: None,
    on_redis: dict[str, str],
    redis_server: Redis,
    muted: Callable[[], None],
    how: str,
) -> None:
    tasks.add.enqueue(1)
    redis_server.kill() if how == "killed" else muted()
    begun_at = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        tasks.add.enqueue(1)
    first = time.monotonic() - begun_at
    waits = []
    for _ in range(100):
        begun_at = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="looked for since"):
            tasks.add.enqueue(1)
        waits.append(time.monotonic() - begun_at)
    # What else a machine does only makes it longer.
    assert first < 15, "three seconds"
    assert sorted(waits)[10] < 0.001, waits
    redis_server.start() if how == "killed" else redis_server.thaw()
    assert eventually(lambda: _add())


def _add() -> object:
    try:
        return tasks.add.enqueue(1)
    except BrokerUnavailable:
        return None


@pytest.mark.parametrize("how", ["killed", "muted"])
def test_with_an_outbox_what_redis_does_not_take_runs_from_the_store(
    start_worker: Start,
    on_broker: OnBroker,
    redis_server: Redis,
    muted: Callable[[], None],
    ledger: Ledger,
    how: str,
) -> None:
    worker = start_worker(env=on_broker(redis_server.url, outbox=True)).wait_until_ready()
    tasks.add.enqueue(1)  # over a connection that is used again
    redis_server.kill() if how == "killed" else muted()
    first, second = (tasks.ledgered.enqueue(str(ledger.path), 0.0) for _ in range(2))
    wait_for_end(worker, second)  # nothing was sent: the breaker is open
    if how == "muted":
        first.refresh()
        assert first.state is not State.SUCCESSFUL, "Redis may have it, and does not say"
    redis_server.start() if how == "killed" else redis_server.thaw()
    wait_for_end(worker, first, second)
    assert_empty(redis_server)
    check_each_ran_once([worker], ledger, [first, second])
    assert not QueuedJob.objects.exists()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could go away")
def test_while_the_store_is_away_redis_takes_jobs_and_all_run_once_when_it_is_back(
    start_worker: Start,
    server: Server,
    there_with: Callable[..., dict[str, str]],
    redis_server: Redis,
    ledger: Ledger,
    settings: Any,
) -> None:
    settings.TASKS = {"default": {"BACKEND": BACKEND, "OPTIONS": {"broker": redis_server.url}}}
    worker = start_worker("-t", "3", env=there_with(TASKS=settings.TASKS)).wait_until_ready()
    jobs = list(tasks.ledgered.enqueue_many([(str(ledger.path), 0.3)] * 12))
    wait_for(lambda: len(ledger.running()) == 3, what=lambda: worker.output)
    server.kill()
    connection.close()
    jobs += [tasks.ledgered.enqueue(str(ledger.path), 0.0) for _ in range(5)]
    wait_for(lambda: not ledger.running() and "next try in" in worker.output, what=lambda: worker.output)
    server.start()
    check_each_ran_once([worker], ledger, jobs)
    assert_empty(redis_server)

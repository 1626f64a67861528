"""Who sends to a Redis, and what is found there: killed producers, forks, another project or version, an old URL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection

from taskq_django.exceptions import BrokerError
from taskq_django.models import JobResult, QueuedJob
from taskq_django.states import State
from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.redis_servers import Redis
from tests.support.workers import ROOT, wait_for
from tests.system.test_crashes import wait_for_end
from tests.system.test_messages import MANY, OnBroker, Start, assert_empty, wait_for_results

pytestmark = pytest.mark.processes

JOBS = 5


def produce(env: dict[str, str], *arguments: object) -> int:
    """Run the program in tests/support/producing.py; its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "tests.support.producing", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "TASKQ_TEST_NAME": str(connection.settings_dict["NAME"]), **env},
        check=False,
    ).returncode


def produce_and_kill(env: dict[str, str], notes: Path, ledger: Ledger) -> dict[str, set[str]]:
    """At each of its steps, one after the other; the ids of the jobs by what was noted of them."""
    step = 1
    while code := produce(env, notes, ledger.path, JOBS, step):
        assert code == -signal.SIGKILL
        step += 1
    assert step > 4
    noted: dict[str, set[str]] = defaultdict(set)
    for line in notes.read_text().splitlines():
        what, id_ = line.split()
        noted[what].add(id_)
    return noted


def test_with_an_outbox_what_was_committed_runs_once_wherever_its_producer_is_killed(
    start_worker: Start, on_broker: OnBroker, redis_server: Redis, ledger: Ledger, tmp_path: Path
) -> None:
    env = on_broker(redis_server.url, outbox=True)
    worker = start_worker(env=env).wait_until_ready()
    noted = produce_and_kill(env, tmp_path / "notes", ledger)
    wait_for(lambda: not QueuedJob.objects.exists(), what=lambda: worker.output)
    assert_empty(redis_server)
    assert not ledger.lost(noted["committed"])
    assert ledger.duplicated() == 0
    assert len(ledger.stories()) % JOBS == 0, "all of a transaction, or none"


def test_without_an_outbox_what_redis_has_confirmed_runs_once_wherever_its_producer_is_killed(
    start_worker: Start, on_broker: OnBroker, redis_server: Redis, ledger: Ledger, tmp_path: Path
) -> None:
    env = on_broker(redis_server.url)
    worker = start_worker(env=env).wait_until_ready()
    noted = produce_and_kill(env, tmp_path / "notes", ledger)
    assert_empty(redis_server)
    wait_for(lambda: not ledger.running(), what=lambda: worker.output)
    assert not ledger.lost(noted["published"])
    assert set(ledger.stories()) == noted["published"], "what was killed before it has sent nothing"
    assert ledger.duplicated() == 0


@pytest.mark.once
def test_processes_that_are_forked_after_an_enqueue_enqueue_too(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger
) -> None:
    assert produce(on_redis, "fork", ledger.path, 50) == 0
    worker = start_worker(env=on_redis)
    wait_for_results(worker, 4 * 50 + 1)
    assert ledger.duplicated() == 0
    assert_empty(redis_server)


def test_what_waits_in_the_database_runs_when_the_url_has_changed_to_redis(
    start_worker: Start, on_broker: OnBroker, redis_server: Redis, ledger: Ledger
) -> None:
    on_broker("database://")
    before = tasks.ledgered.enqueue_many([(str(ledger.path), 0.0)] * MANY)
    env = on_broker(redis_server.url)
    after = tasks.ledgered.enqueue(str(ledger.path), 0.0)
    worker = start_worker(env=env)
    wait_for_results(worker, MANY + 1)
    assert not ledger.lost({job.id for job in [*before, after]})
    assert ledger.duplicated() == 0
    assert not QueuedJob.objects.exists()
    assert_empty(redis_server)


@pytest.mark.once
def test_a_name_of_another_project_is_refused_and_its_jobs_are_left_alone(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis
) -> None:
    id_ = str(uuid4())
    with redis_server.client() as client:
        client.set("taskq:{default}:store", str(uuid4()))
        put(client, id_, b"theirs")
        with pytest.raises(BrokerError, match=r"belongs to another database.*OPTIONS"):
            tasks.add.enqueue(1)
        worker = start_worker(env=on_redis)
        assert worker.wait() == 1, worker.output
        assert "belong to another database" in worker.output
        assert "Traceback" not in worker.output
        assert client.hkeys("taskq:{default}:jobs") == [id_.encode()]


@pytest.mark.once
def test_garbage_fails_and_what_is_newer_waits_for_a_newer_worker(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis
) -> None:
    garbage, newer = str(uuid4()), str(uuid4())
    tasks.add.enqueue(1)
    with redis_server.client() as client:
        put(client, garbage, b"1700000000.0 \xff\x00 no job")
        put(client, newer, b"1700000000.0 " + orjson.dumps({"v": 2, "task": "x"}), queue="mail")
        worker = start_worker(env=on_redis)
        wait_for_results(worker, 2)
        wait_for(lambda: newer in worker.output, what=lambda: worker.output)
        after = tasks.add.enqueue(2)
        wait_for_end(worker, after)
        result = JobResult.objects.get(id=garbage)
        assert (result.status, "no job" in result.message) == (State.FAILED, True)
        wait_for(lambda: client.hkeys("taskq:{default}:jobs") == [newer.encode()], what=lambda: worker.output)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
        assert client.lrange("taskq:{default}:q:mail:0", 0, -1) == [newer.encode()]
    assert worker.output.count("newer release") == 1, worker.output


def put(client: Any, id_: str, stored: bytes, queue: str = "default") -> None:
    """As by another hand."""
    prefix = "taskq:{default}:"
    client.hset(f"{prefix}jobs", id_, stored)
    client.lpush(f"{prefix}q:{queue}:0", id_)
    client.zadd(f"{prefix}ranks:{queue}", {"0": 0})
    client.sadd(f"{prefix}queues", queue)

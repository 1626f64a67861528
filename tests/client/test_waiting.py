"""Who waits for the end of a job that is a message, and what handles say before their job has left."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from django.db import connection, connections, transaction
from pytest_django import Settings

from taskq_django.brokers import Broker, waiting
from taskq_django.compat import TaskResultDoesNotExist, task_backends
from taskq_django.exceptions import BrokerUnavailable, ResultTimeout
from taskq_django.jobs import Claim, Retried, Succeeded
from taskq_django.models import CancelWish
from taskq_django.results import Result
from taskq_django.states import State
from tests.app import tasks
from tests.support.messages import register
from tests.support.redis_servers import Redis, eventually
from tests.support.sending import FAILURE, unused_name

pytestmark = pytest.mark.django_db(transaction=True)

OURS = "taskq_django.TaskqBackend"
ME = "host/me"
GONE = -2  # what Redis says of how long a key will be there that is not


@pytest.fixture
def name() -> str:
    return unused_name()


@pytest.fixture
def waited(name: str) -> str:
    """The key of those whose end somebody waits for."""
    return f"taskq:{{{name}}}:waited"


@pytest.fixture
def broker(redis_server: Redis, patient_transports: None, settings: Settings, name: str) -> Iterator[Broker]:
    """Of the one backend, whose jobs are in Redis."""
    settings.TASKS = {"default": {"BACKEND": OURS, "OPTIONS": {"broker": redis_server.url, "name": name}}}
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    register(ME)
    yield broker
    broker.close()


@pytest.fixture
def client(redis_server: Redis) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


def claimed(broker: Broker) -> Claim:
    [claim] = broker.claim(["default"], 1, ME)
    return claim


def end(broker: Broker, claim: Claim, value: str = "7") -> None:
    now = time.monotonic()
    broker.settle([Succeeded(claim, now, now, value)], ME)


def subscriptions(client: redis.Redis, waited: str) -> int:
    [(_, count)] = client.pubsub_numsub(waited.replace("waited", "ended"))
    return int(count)


class Waiters:
    """Threads that wait for a result."""

    def __init__(self, result: Result[Any], count: int = 1) -> None:
        self._pool = ThreadPoolExecutor(count)
        self._futures = [self._pool.submit(self._wait, result) for _ in range(count)]

    def _wait(self, result: Result[Any]) -> Any:
        try:
            return task_backends["default"].get_result(result.id).get(timeout=60)
        finally:
            connections.close_all()

    def ended(self) -> list[Any]:
        """What they have got, within half the time for which they wait."""
        with self._pool:
            return [future.result(30) for future in self._futures]


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks again who is not woken."""
    monkeypatch.setattr(waiting, "TOLD", 3600.0)


@pytest.mark.usefixtures("only_told")
def test_whoever_waits_is_woken_when_the_job_has_ended(broker: Broker, client: redis.Redis, waited: str) -> None:
    result = tasks.add.enqueue(3, 4)
    claim = claimed(broker)
    waiters = Waiters(result, 3)
    eventually(lambda: client.scard(waited))

    end(broker, claim)

    assert waiters.ended() == [7, 7, 7]
    assert subscriptions(client, waited) == 1, "one serves all"


def test_a_waiter_looks_once_a_second_only(broker: Broker, client: redis.Redis, waited: str) -> None:
    result = tasks.add.enqueue(3, 4)
    before = client.info("commandstats")

    with pytest.raises(ResultTimeout):
        result.get(timeout=2.5)

    after = client.info("commandstats")
    calls = after["cmdstat_evalsha"]["calls"] - before["cmdstat_evalsha"]["calls"]
    assert calls <= 8  # three looks, and as many times that it is waited for


@pytest.mark.usefixtures("only_told")
def test_a_waiting_coroutine_is_woken_too(broker: Broker, client: redis.Redis, waited: str) -> None:
    result = tasks.add.enqueue(3, 4)
    claim = claimed(broker)

    def end_when_waited_for() -> None:
        eventually(lambda: client.scard(waited))
        end(broker, claim)
        connections.close_all()

    async def wait() -> list[int]:
        async with asyncio.timeout(30):
            return await asyncio.gather(result.aget(timeout=60), result.aget(timeout=60))

    thread = threading.Thread(target=end_when_waited_for)
    thread.start()
    assert async_to_sync(wait)() == [7, 7]
    thread.join()


def test_an_end_that_is_stored_and_not_yet_acked_is_seen_at_once(broker: Broker, redis_server: Redis) -> None:
    result = tasks.add.enqueue(3, 4)
    claim = claimed(broker)
    redis_server.kill()
    end(broker, claim)

    assert result.get(timeout=0.1) == 7


def test_a_wait_outlives_an_outage_of_the_engine(
    broker: Broker, redis_server: Redis, client: redis.Redis, waited: str
) -> None:
    result = tasks.add.enqueue(3, 4)
    claim = claimed(broker)
    waiters = Waiters(result)
    eventually(lambda: client.scard(waited))
    redis_server.kill()
    with pytest.raises(BrokerUnavailable):
        result.refresh()
    with pytest.raises(ResultTimeout, match="Its broker does not answer: Redis at"):
        result.get(timeout=0.2)

    end(broker, claim)

    assert waiters.ended() == [7]


@pytest.mark.usefixtures("only_told")
def test_a_wait_goes_on_when_a_message_becomes_a_row(broker: Broker, client: redis.Redis, waited: str) -> None:
    result = tasks.add.enqueue(3, 4)
    claim = claimed(broker)
    waiters = Waiters(result)
    eventually(lambda: client.scard(waited))
    now = time.monotonic()
    broker.settle([Retried(claim, now, now, FAILURE, 0.0)], ME)
    broker.promote()
    end(broker, claimed(broker))

    assert waiters.ended() == [7]


def test_nothing_is_kept_of_a_wait_that_was_given_up(broker: Broker, client: redis.Redis, waited: str) -> None:
    result = tasks.add.enqueue(3, 4)

    def seconds_left() -> int:
        with pytest.raises(ResultTimeout):
            result.get(timeout=0.5)
        left = client.ttl(waited)
        return 0 if left == GONE else left  # the time was not enough to say that somebody waits

    assert 0 < eventually(seconds_left) <= 10
    end(broker, claimed(broker))
    assert client.scard(waited) == 0


def test_a_handle_is_ready_before_the_commit(broker: Broker, client: redis.Redis) -> None:
    with transaction.atomic():
        result = tasks.add.enqueue(3, 4)
        with transaction.atomic():
            inner = tasks.add.enqueue(5, 6)
            for handle in (result, inner):
                handle.refresh()
                assert (handle.state, handle.args) == (State.READY, [*handle.args])
            assert abs(result.enqueued_at.timestamp() - time.time()) < 60
        assert task_backends["default"].get_result(inner.id).args == [5, 6]
        with pytest.raises(ResultTimeout, match="inside a transaction"):
            result.get()
        assert client.keys() == []
    result.refresh()
    assert result.state is State.READY
    assert {each.queue_name: each.ready for each in broker.depth()} == {"default": 2}


def test_a_handle_of_a_rolled_back_job_is_known_no_more(broker: Broker) -> None:
    with transaction.atomic():
        kept = tasks.add.enqueue(1, 2)
        with transaction.atomic():
            gone = tasks.add.enqueue(3, 4)
            transaction.set_rollback(True)
        with pytest.raises(TaskResultDoesNotExist):
            gone.refresh()
        kept.refresh()
        assert kept.state is State.READY
        transaction.set_rollback(True)
    with pytest.raises(TaskResultDoesNotExist):
        kept.refresh()


def test_another_thread_knows_nothing_of_it_before_the_commit(broker: Broker) -> None:
    def look(id_: str) -> bool:
        try:
            return bool(broker.find([id_]))
        finally:
            connections.close_all()

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        result = tasks.add.enqueue(3, 4)
        if connection.vendor != "sqlite":  # whose one writer is this transaction
            assert not pool.submit(look, result.id).result()


def test_a_job_is_cancelled_before_its_commit(broker: Broker) -> None:
    with transaction.atomic():
        result = tasks.add.enqueue(3, 4)
        assert result.cancel("not this one")
    assert CancelWish.objects.get().reason == "not this one"

    claim = claimed(broker)

    assert (claim.verdict, claim.reason) == (State.CANCELLED, "not this one")

"""How loops that sleep learn of messages in Redis."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from taskq_django.brokers.kombu import bell as module
from taskq_django.brokers.kombu.bell import RedisBell
from taskq_django.brokers.kombu.redis import RedisTransport
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.jobs import Claim
from tests.support.redis_servers import Redis, eventually
from tests.support.sending import job
from tests.support.workers import wait_for

pytestmark = [pytest.mark.once, pytest.mark.thorough]

Transports = Callable[..., RedisTransport]
LONG = 60.0  # seconds: for what is awaited
SHORT = 0.15  # for what must not come


class Sleeper:
    """A worker's loop, as far as it is about the bell."""

    def __init__(self, transport: RedisTransport, name: str, *queues: str) -> None:
        self.transport, self.name, self.queues = transport, name, queues or ("default",)
        transport.join(name)
        self.bell: RedisBell = transport.bell()

    def is_rung(self, seconds: float = LONG) -> bool:
        fd = self.bell.fd
        return fd is not None and bool(select.select([fd], [], [], seconds)[0])

    def look(self) -> list[Claim]:
        waiting = [name for name in self.transport.queues() if name in self.queues]
        return [claim for name in waiting for claim in self.transport.claim(name, 10, self.name)]

    def fall_asleep(self) -> None:
        """As the loop does: it looks once more after each time that the bell says so."""
        while self.bell.rang():
            self.look()


@pytest.fixture
def sleeper(redis_server: Redis, transport_to: Transports) -> Iterator[Callable[..., Sleeper]]:
    made: list[Sleeper] = []

    def make(*queues: str) -> Sleeper:
        made.append(Sleeper(transport_to(redis_server), f"w{len(made)}", *queues))
        eventually(lambda: _sleep(made, redis_server))
        return made[-1]

    yield make
    for each in made:
        each.bell.close()


def _sleep(sleepers: list[Sleeper], server: Redis) -> bool:
    """Are they asleep? What rang before they were may be on its way."""
    for each in sleepers:
        each.fall_asleep()
    return _blocked(server) == len(sleepers)


def _blocked(server: Redis) -> int:
    with server.client() as client:
        return int(client.info("clients")["blocked_clients"])


def test_a_published_message_wakes_one_of_those_that_sleep(
    sleeper: Callable[..., Sleeper], transport: RedisTransport
) -> None:
    first, second = sleeper(), sleeper()

    transport.publish([job()], LONG)

    assert first.is_rung()
    assert first.bell.rang()
    assert len(first.look()) == 1
    assert not second.is_rung(SHORT)


def test_a_worker_that_wakes_takes_no_ring_of_others(
    sleeper: Callable[..., Sleeper], transport: RedisTransport
) -> None:
    awake, asleep = sleeper(), sleeper()
    transport.publish([job()], LONG)
    assert awake.is_rung()
    assert awake.bell.rang()
    awake.look()

    transport.publish([job()], LONG)

    assert awake.bell.fd is None
    assert asleep.is_rung()


def test_a_worker_that_claims_before_it_was_rung_takes_no_ring_of_others(
    sleeper: Callable[..., Sleeper], transport: RedisTransport
) -> None:
    first, second = sleeper(), sleeper()
    transport.publish([job()], LONG)
    assert first.is_rung()

    (claim,) = second.look()  # its time to look had come
    assert second.bell.fd is None
    first.fall_asleep()
    transport.publish([job()], LONG)

    assert first.is_rung()
    assert second.transport.ack([claim])
    second.fall_asleep()
    assert second.bell.fd is not None


def test_what_is_left_wakes_the_next(sleeper: Callable[..., Sleeper], transport: RedisTransport) -> None:
    first, second = sleeper(), sleeper()

    transport.publish([job() for _ in range(15)], LONG)
    assert first.is_rung()
    assert first.bell.rang()
    assert len(first.look()) == 10

    assert second.is_rung()
    assert second.bell.rang()
    assert len(second.look()) == 5


def test_a_ring_reaches_the_worker_that_serves_the_queue(
    sleeper: Callable[..., Sleeper], transport: RedisTransport
) -> None:
    others = [sleeper("default") for _ in range(3)]
    server = sleeper("mail")

    transport.publish([job(queue_name="mail")], LONG)
    for each in others:
        assert each.is_rung()
        each.fall_asleep()

    assert server.is_rung()
    assert server.bell.rang()
    assert len(server.look()) == 1


def test_a_ring_for_nobody_ends(
    sleeper: Callable[..., Sleeper], transport: RedisTransport, redis_server: Redis
) -> None:
    sleepers = [sleeper("default"), sleeper("mail")]

    transport.publish([job(queue_name="nobody's")], LONG)
    for _ in range(10):
        for each in sleepers:
            if each.is_rung(SHORT / 10):
                each.fall_asleep()

    eventually(lambda: _sleep(sleepers, redis_server))
    assert not any(each.is_rung(SHORT) for each in sleepers)


def test_one_batch_for_several_queues_wakes_the_workers_of_each(
    sleeper: Callable[..., Sleeper], transport: RedisTransport
) -> None:
    first, second = sleeper("a"), sleeper("b")
    transport.publish([job(queue_name="a"), job(queue_name="b")], LONG)

    assert first.is_rung()
    assert first.bell.rang()
    assert len(first.look()) == 1
    first.fall_asleep()

    assert second.is_rung()


@pytest.mark.parametrize("how", ["release", "unanswered"])
def test_what_goes_back_wakes_a_sleeper(sleeper: Callable[..., Sleeper], transport: RedisTransport, how: str) -> None:
    transport.publish([job()], LONG)
    claims = transport.claim("default", 1, "me")
    asleep = sleeper()

    if how == "release":
        transport.release(claims)
    else:
        transport.release_unanswered("me", ())

    assert asleep.is_rung()


def test_a_ring_comes_within_milliseconds(sleeper: Callable[..., Sleeper], transport: RedisTransport) -> None:
    waits = []
    asleep = sleeper()
    for _ in range(50):
        began = time.perf_counter()
        transport.publish([job()], LONG)
        assert asleep.is_rung()
        assert asleep.bell.rang()
        assert len(asleep.look()) == 1
        waits.append(time.perf_counter() - began)
        asleep.fall_asleep()

    assert sorted(waits)[10] < 0.1  # what else the machine does makes many longer; patience alone would be a second


def test_a_bell_whose_server_goes_says_so_and_rings_again(
    sleeper: Callable[..., Sleeper], transport: RedisTransport, redis_server: Redis
) -> None:
    asleep = sleeper()
    redis_server.kill()
    assert asleep.is_rung()
    with pytest.raises(BrokerUnavailable):
        asleep.bell.rang()
    assert asleep.bell.fd is None
    with pytest.raises(BrokerUnavailable):
        asleep.bell.rang()

    redis_server.start()
    asleep.fall_asleep()
    transport.publish([job()], LONG)

    assert asleep.is_rung()


def test_a_bell_on_a_dead_line_is_hung_anew(
    sleeper: Callable[..., Sleeper], redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = sleeper()
    line = asleep.bell.fd
    assert not asleep.bell.rang()

    monkeypatch.setattr(module, "SILENT", 0.0)

    assert asleep.bell.rang()
    monkeypatch.undo()
    assert line is not None
    eventually(lambda: _blocked(redis_server) == 1)


def test_a_server_that_waited_long_enough_is_asked_again(
    sleeper: Callable[..., Sleeper], redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = sleeper()
    monkeypatch.setattr(module, "WAIT", 0.05)
    asleep.bell.close()
    assert asleep.bell.rang()
    assert asleep.is_rung()
    assert asleep.bell.rang()
    assert asleep.bell.fd is not None


def test_no_ring_is_lost_while_several_sleep_and_several_publish(
    sleeper: Callable[..., Sleeper], redis_server: Redis, transport_to: Transports
) -> None:
    """Loops that have no patience at all take everything."""
    taken: list[str] = []
    is_over = threading.Event()

    def live(each: Sleeper) -> None:
        while not is_over.is_set():
            if each.bell.rang():
                while claims := each.look():
                    taken.extend(each.transport.ack(claims))
            else:
                each.is_rung(SHORT)

    def publish(transport: RedisTransport) -> None:
        for _ in range(100):
            transport.publish([job()], LONG)

    loops = [threading.Thread(target=live, args=(sleeper(),), name="loop") for _ in range(3)]
    publishers = [threading.Thread(target=publish, args=(transport_to(redis_server),), name="web") for _ in range(4)]
    for thread in (*loops, *publishers):
        thread.start()
    try:
        wait_for(lambda: len(taken) >= 400, timeout=60)
    finally:
        is_over.set()
        for thread in (*loops, *publishers):
            thread.join()

    assert len(set(taken)) == len(taken) == 400

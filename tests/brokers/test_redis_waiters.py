"""Who is told by Redis that a message has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

pytest.importorskip("redis", reason="redis is not installed (extra redis)")

from redis import Redis as Client

from taskq_django.brokers.kombu import waiters
from taskq_django.brokers.kombu.errors import RIGHTS
from taskq_django.brokers.kombu.redis import RedisTransport
from taskq_django.exceptions import BrokerError
from taskq_django.jobs import Job
from tests.support.redis_servers import Redis, eventually
from tests.support.sending import job, unused_name


def sent(transport: RedisTransport, **changes: object) -> Job:
    made = job(**changes)
    transport.publish([made], 30.0)
    return made


def listening(client: Client, prefix: str) -> int:
    [(_, count)] = client.pubsub_numsub(f"{prefix}ended")
    return int(count)


@pytest.fixture
def name() -> str:
    return unused_name()


@pytest.fixture
def prefix(name: str) -> str:
    """Of the keys."""
    return f"taskq:{{{name}}}:"


@pytest.fixture
def transport(redis_server: Redis, transport_to: Callable[..., RedisTransport], name: str) -> RedisTransport:
    transport = transport_to(redis_server, name=name)
    transport.join("me")
    return transport


@pytest.fixture
def client(redis_server: Redis) -> Client:
    return redis_server.client()


def test_what_is_there_is_told_of_when_it_ends(transport: RedisTransport, client: Client, prefix: str) -> None:
    waits, held = sent(transport), sent(transport)
    [_, claim] = transport.claim("default", 2, "me")
    told = {each.id: threading.Event() for each in (waits, held)}

    assert all(transport.watch(id_, event.set) for id_, event in told.items())
    transport.ack([claim])

    assert told[held.id].wait(60)
    assert not told[waits.id].wait(0.1)
    assert client.smembers(f"{prefix}waited") == {waits.id.encode()}


def test_what_is_not_there_will_not_be_told_of(transport: RedisTransport) -> None:
    assert not transport.watch(job().id, threading.Event().set)


def test_what_is_purged_has_ended_too(transport: RedisTransport) -> None:
    told = threading.Event()
    assert transport.watch(sent(transport).id, told.set)

    transport.purge("default")

    assert told.wait(60)


def test_nothing_is_told_where_nobody_waits(transport: RedisTransport, client: Client, prefix: str) -> None:
    told = threading.Event()
    gone = sent(transport)
    assert transport.watch(gone.id, told.set)
    transport.unwatch(gone.id, told.set)
    client.delete(f"{prefix}waited")  # after ten seconds it is gone by itself
    before = client.info("commandstats")

    transport.ack(transport.claim("default", 1, "me"))

    after = client.info("commandstats")
    assert after.get("cmdstat_publish") == before.get("cmdstat_publish")
    assert after.get("cmdstat_smismember") == before.get("cmdstat_smismember")
    assert not told.is_set()


def test_whoever_waits_is_woken_when_the_subscription_breaks_and_another_is_made(
    transport: RedisTransport, client: Client, prefix: str
) -> None:
    told, waits = threading.Event(), sent(transport)
    assert transport.watch(waits.id, told.set)

    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    assert told.wait(60), "it looks, and asks again"
    told.clear()
    eventually(lambda: transport.watch(waits.id, told.set) and listening(client, prefix) == 1)
    transport.ack(transport.claim("default", 1, "me"))
    assert told.wait(60)


def test_the_subscription_ends_when_nobody_has_waited_for_a_while(
    transport: RedisTransport, client: Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "IDLE", 0.1)
    monkeypatch.setattr(waiters, "LOOK", 0.05)
    told, waits = threading.Event(), sent(transport)
    assert transport.watch(waits.id, told.set)
    assert listening(client, prefix) == 1

    transport.unwatch(waits.id, told.set)

    eventually(lambda: listening(client, prefix) == 0)
    assert transport.watch(waits.id, told.set)
    assert listening(client, prefix) == 1


def test_what_one_raises_keeps_no_other_from_being_told(transport: RedisTransport) -> None:
    """As a call into an event loop that is closed."""
    told, gone = threading.Event(), sent(transport)

    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    assert transport.watch(gone.id, closed)
    assert transport.watch(gone.id, told.set)
    transport.purge("default")
    assert told.wait(60)


def test_a_user_who_may_not_publish_or_subscribe_works_all_the_same(
    redis_server: Redis, client: Client, transport_to: Callable[..., RedisTransport], name: str, prefix: str
) -> None:
    rights = [right for right in RIGHTS.split() if right not in {"+publish", "+subscribe"}]
    client.execute_command("ACL", "SETUSER", "queue", "reset", "resetchannels", "on", ">hunter2", *rights)
    transport = transport_to(redis_server, url=f"redis://queue:hunter2@127.0.0.1:{redis_server.port}/0", name=name)
    transport.join("me")
    waits = sent(transport)
    client.sadd(f"{prefix}waited", waits.id)

    with pytest.raises(BrokerError, match=r"(?i)subscribe"):
        transport.watch(waits.id, threading.Event().set)

    [claim] = transport.claim("default", 1, "me")
    assert transport.ack([claim]) == {waits.id}

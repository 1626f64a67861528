"""What a Redis transport keeps when a server, a connection, a key or a process fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_django.brokers.kombu import lua, lua_ends
from taskq_django.brokers.kombu.errors import RIGHTS
from taskq_django.brokers.kombu.redis import RedisTransport
from taskq_django.exceptions import BrokerError, BrokerUnavailable
from taskq_django.jobs import Job
from tests.support.proxy import FaultProxy
from tests.support.redis_places import assert_whole, bodies, places
from tests.support.redis_servers import Redis, started_or_skipped
from tests.support.sending import job
from tests.support.workers import ROOT

pytestmark = [pytest.mark.once, pytest.mark.thorough]

Transports = Callable[..., RedisTransport]
PREFIX = "taskq:{default}:"


def sent(transport: RedisTransport, count: int = 3, **changes: object) -> list[Job]:
    jobs = [job(**changes) for _ in range(count)]
    transport.publish(jobs, 30.0)
    return jobs


def ids(transport: RedisTransport, worker: str = "me", limit: int = 1000) -> list[str]:
    return [claim.job.id for claim in transport.claim("default", limit, worker)]


@pytest.fixture
def proxy(redis_server: Redis) -> Iterator[FaultProxy]:
    proxy = FaultProxy("127.0.0.1", redis_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def through_proxy(proxy: FaultProxy, transport: RedisTransport, transport_to: Transports) -> RedisTransport:
    """To a server that knows the scripts: an answer that is lost is not that it does not."""
    sent(transport, 1)
    transport.ack(transport.claim("default", 1, "me"))
    return transport_to(None, url=f"redis://127.0.0.1:{proxy.port}/0")


# --- keys that are not what they should be ----------------------------------------------------------------------------


def test_a_claim_that_cannot_be_held_goes_back_in_its_order(transport: RedisTransport, redis_server: Redis) -> None:
    jobs = [*sent(transport, 3, priority=1), *sent(transport, 3)]
    with redis_server.client() as client:
        client.set(f"{PREFIX}h:me", "of another hand")

        with pytest.raises(BrokerError, match="WRONGTYPE"):
            transport.claim("default", 5, "me")

        client.delete(f"{PREFIX}h:me")
        assert assert_whole(client) == {each.id for each in jobs}
        assert ids(transport) == [each.id for each in jobs]


def test_a_list_that_is_none_stops_its_queue_and_loses_nothing_of_others(
    transport: RedisTransport, redis_server: Redis
) -> None:
    jobs = sent(transport, 3, priority=1)
    with redis_server.client() as client:
        client.set(f"{PREFIX}q:default:0", "of another hand")
        client.zadd(f"{PREFIX}ranks:default", {"0": 0})

        with pytest.raises(BrokerError, match="WRONGTYPE"):
            ids(transport)
        with pytest.raises(BrokerError, match="WRONGTYPE"):
            transport.publish([job(priority=2), job(priority=1), job()], 30.0)

        client.delete(f"{PREFIX}q:default:0")
        assert set(places(client)) == bodies(client) == {each.id for each in jobs}
        assert ids(transport) == [each.id for each in jobs]
        assert assert_whole(client) == {each.id for each in jobs}


# --- a server that is full --------------------------------------------------------------------------------------------


@pytest.fixture
def full(redis_server: Redis, transport: RedisTransport) -> Iterator[list[Job]]:
    """A server that takes nothing more, and the jobs that it has."""
    jobs = sent(transport, 500)
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        yield jobs
        client.config_set("maxmemory", 0)


def test_a_full_server_refuses_a_publish_whole_and_says_so(
    full: list[Job], transport: RedisTransport, redis_server: Redis
) -> None:
    with pytest.raises(BrokerUnavailable, match="full") as raised:
        sent(transport, 3)

    assert raised.value.known
    with redis_server.client() as client:
        assert assert_whole(client) == {each.id for each in full}


def test_all_that_waits_in_a_full_server_can_be_claimed_and_ended(full: list[Job], transport: RedisTransport) -> None:
    transport.join("new")
    claims = transport.claim("default", 400, "new")
    assert len(transport.release(claims[300:])) == 100
    assert transport.release_unanswered("new", {claim.job.id for claim in claims[:200]}) == 100
    inherited = [claim for claim, _ in transport.inherit("new", "heir")]
    assert len(transport.ack(inherited)) == 200

    rest = transport.claim("default", 1000, "heir")

    assert {claim.job.id for claim in inherited + rest} == {each.id for each in full}
    assert len(transport.ack(rest)) == 300


def test_the_end_is_unknown_when_a_later_part_is_refused(transport: RedisTransport, redis_server: Redis) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + (12 << 20))
        try:
            with pytest.raises(BrokerUnavailable, match="jobs for certain") as raised:
                sent(transport, 30, payload="x" * (1 << 20))
        finally:
            client.config_set("maxmemory", 0)

        assert not raised.value.known
        assert 0 < len(assert_whole(client)) < 30


# --- rights -----------------------------------------------------------------------------------------------------------


def test_the_rights_that_an_error_names_are_enough(redis_server: Redis, transport_to: Transports) -> None:
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *RIGHTS.split())
        try:
            transport = transport_to(redis_server, url=f"redis://app:secret@127.0.0.1:{redis_server.port}/0")
            transport.join("me")
            bell = transport.bell()
            assert bell.rang()
            jobs = sent(transport, 3)
            assert set(transport.find([each.id for each in jobs])) == {each.id for each in jobs}
            claims = transport.claim("default", 2, "me")
            transport.release(claims[:1])
            transport.release_unanswered("me", [claims[1].job.id])
            transport.ack(claims)
            transport.inherit("me", "heir")
            assert transport.peek("default", 5)
            assert transport.depth()
            transport.purge("default")
            assert (transport.queues(), transport.workers()) == ([], {"heir"})
            bell.close()
            assert client.execute_command("ACL", "LOG") == []
        finally:
            client.execute_command("ACL", "DELUSER", "app")


# --- answers that are lost --------------------------------------------------------------------------------------------


def test_a_claim_whose_answer_was_lost_is_given_back_by_who_made_it(
    proxy: FaultProxy, through_proxy: RedisTransport
) -> None:
    jobs = sent(through_proxy, 3)
    proxy.cut_after = lua.CLAIM.digest.encode()

    with pytest.raises(BrokerUnavailable) as raised:
        ids(through_proxy)

    assert not raised.value.known
    assert (proxy.cuts, through_proxy.queues()) == (1, [])
    assert through_proxy.release_unanswered("me", set()) == 3
    assert ids(through_proxy) == [each.id for each in jobs]


def test_an_ack_whose_answer_was_lost_was_one(proxy: FaultProxy, through_proxy: RedisTransport) -> None:
    sent(through_proxy, 1)
    claims = through_proxy.claim("default", 1, "me")
    proxy.cut_after = lua_ends.ACK.digest.encode()

    with pytest.raises(BrokerUnavailable):
        through_proxy.ack(claims)

    assert proxy.cuts == 1  # and not sent again, which would have found nothing
    assert through_proxy.find([claims[0].job.id]) == {}


def test_a_publish_whose_answer_was_lost_may_be_sent_again(proxy: FaultProxy, through_proxy: RedisTransport) -> None:
    sent(through_proxy, 1)
    given = job()
    proxy.cut_after = lua.PUBLISH.digest.encode()

    with pytest.raises(BrokerUnavailable) as raised:
        through_proxy.publish([given], 30.0)
    through_proxy.publish([given], 30.0)

    assert not raised.value.known
    assert ids(through_proxy)[1:] == [given.id]


def test_what_was_asked_of_a_server_that_is_away_was_not_done_for_certain(
    transport_to: Transports, redis_server: Redis
) -> None:
    redis_server.kill()
    with pytest.raises(BrokerUnavailable) as raised:
        sent(transport_to(redis_server), 1)
    assert raised.value.known


def test_a_killed_server_that_writes_each_command_down_has_all_that_it_confirmed(transport_to: Transports) -> None:
    server = started_or_skipped(appendonly="yes", appendfsync="always")
    try:
        transport = transport_to(server)
        transport.join("me")
        jobs = sent(transport, 2000)
        held = ids(transport, limit=500)
        server.kill()
        server.start()
        with server.client() as client:
            assert assert_whole(client) == {each.id for each in jobs}
        assert {claim.job.id for claim, _ in transport.inherit("me", "heir")} == set(held)
    finally:
        server.remove()


# --- processes --------------------------------------------------------------------------------------------------------


def seen(act: str, server: Redis, seconds: int = 5) -> dict[str, Any]:
    """What tests.support.redis_processes has to report."""
    command = [sys.executable, "-m", "tests.support.redis_processes", act, server.url, str(seconds)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return report


def test_killed_workers_and_producers_lose_nothing_and_double_nothing(redis_server: Redis) -> None:
    report = seen("kill", redis_server, seconds=8)

    assert (report["lost"], report["twice"], report["left"]) == ([], [], [])


def test_of_sixteen_processes_that_begin_at_once_those_of_one_store_are_let_in(redis_server: Redis) -> None:
    for even, odd, there, _ in seen("first", redis_server)["rounds"]:
        assert sorted((even, odd)) == [0, 8]
        assert there == 8


def test_children_of_a_process_that_has_published_have_connections_of_their_own(redis_server: Redis) -> None:
    assert seen("fork", redis_server) == {"ended": [0] * 4, "there": 1001}

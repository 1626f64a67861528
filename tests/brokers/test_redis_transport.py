"""What a transport promises, by Redis. Faults and kills are in test_redis_faults.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from taskq_django.brokers.base import Depth
from taskq_django.brokers.kombu import redis as module
from taskq_django.brokers.kombu.redis import RedisTransport
from taskq_django.brokers.messages.transport import NotJoined
from taskq_django.exceptions import BrokerError, BrokerUnavailable, PayloadTooLarge
from taskq_django.jobs import Claim, Job
from taskq_django.states import State
from taskq_django.store.weights import HEAVIEST
from tests.support.redis_places import assert_whole
from tests.support.redis_servers import Redis
from tests.support.sending import as_sent, job

pytestmark = [pytest.mark.once, pytest.mark.thorough]

SOON = 30.0


def sent(transport: RedisTransport, *jobs: Job) -> list[Job]:
    transport.publish(jobs, SOON)
    return list(jobs)


def claimed(transport: RedisTransport, worker: str = "me", queue: str = "default") -> list[Claim]:
    return transport.claim(queue, 1000, worker)


def ids_of(claims: list[Claim]) -> list[str]:
    return [claim.job.id for claim in claims]


# --- publish ------------------------------------------------------------------------------------------------------


def test_a_published_job_is_claimed_once_as_it_was_sent(transport: RedisTransport) -> None:
    (given,) = sent(transport, job(headers='{"a":1}', priority=7, expires_us=10**9, queue_name="a:b.c-d_e"))

    (claim,) = claimed(transport, queue="a:b.c-d_e")

    assert as_sent(claim) == given
    assert (claim.attempt, claim.receipt, claim.verdict, claim.has_begun) == (1, "@me", "", False)
    assert claimed(transport, "other", "a:b.c-d_e") == []


def test_publish_tells_when_by_the_clock_of_the_server(transport: RedisTransport, redis_server: Redis) -> None:
    with redis_server.client() as client:
        seconds, micro = client.time()
        moment = transport.publish([job()], SOON)
        later, _ = client.time()
    (claim,) = claimed(transport)

    assert datetime.fromtimestamp(seconds + micro / 10**6, UTC) <= moment
    assert moment.timestamp() <= later + 1
    assert claim.job.enqueued_at == pytest.approx(moment.timestamp(), abs=1e-6)
    assert transport.publish([], SOON) >= moment


def test_what_is_published_twice_is_there_once_also_while_it_is_held(
    transport: RedisTransport, redis_server: Redis
) -> None:
    waits, held = job(), job()
    sent(transport, held)
    (claim,) = claimed(transport)
    sent(transport, waits, waits)
    sent(transport, waits, held)

    assert [found.ready for found in transport.depth()] == [1]
    with redis_server.client() as client:
        assert assert_whole(client) == {waits.id, held.id}
    transport.ack([claim])
    assert ids_of(claimed(transport)) == [waits.id]


def test_many_jobs_and_heavy_ones_go_in_parts(transport: RedisTransport, redis_server: Redis) -> None:
    jobs = [job() for _ in range(2500)] + [job(payload="x" * (HEAVIEST // 2)) for _ in range(5)]
    with redis_server.client() as client:
        client.config_resetstat()
        transport.publish(jobs, SOON)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] >= 6
        assert assert_whole(client) == {each.id for each in jobs}


def test_a_message_that_would_hold_the_server_up_is_refused_before_it_is_sent(
    transport: RedisTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 1000)
    transport.check([job(payload="x" * 800)])
    for payload in ("x" * 1000, '"' * 500):
        with pytest.raises(PayloadTooLarge, match="Store what is large elsewhere"):
            transport.check([job(), job(payload=payload)])


# --- claim --------------------------------------------------------------------------------------------------------


def test_higher_priority_goes_first_and_older_first_within_one(transport: RedisTransport) -> None:
    jobs = [job(priority=priority) for priority in (0, -100, 3, 100, 3, 0)]
    sent(transport, *jobs[:4])
    sent(transport, *jobs[4:])
    order = sorted(jobs, key=lambda each: -each.priority)  # a stable sort

    assert [found.id for found in transport.peek("default", 10)] == [each.id for each in order]
    one_by_one = [claim for _ in jobs[:4] for claim in transport.claim("default", 1, "me")]
    assert ids_of(one_by_one + claimed(transport)) == [each.id for each in order]


def test_a_claim_takes_no_more_than_a_thousand_however_many_are_wanted(transport: RedisTransport) -> None:
    jobs = [job(priority=number % 2) for number in range(2100)]
    sent(transport, *jobs)

    taken = [transport.claim("default", 10**5, "me") for _ in range(4)]

    assert list(map(len, taken)) == [1000, 1000, 100, 0]
    assert len({claim.job.id for claims in taken for claim in claims}) == 2100


def test_the_message_that_makes_it_heaviest_is_the_last_of_a_claim(
    transport: RedisTransport, redis_server: Redis
) -> None:
    jobs = sent(transport, *(job(payload="x" * (HEAVIEST // 2 + 1)) for _ in range(5)))

    first = claimed(transport)
    with redis_server.client() as client:
        assert_whole(client)

    assert ids_of(first) == [each.id for each in jobs[:2]]
    assert ids_of(claimed(transport)) == [each.id for each in jobs[2:4]]


def test_who_has_not_joined_claims_nothing(transport: RedisTransport) -> None:
    sent(transport, job())
    with pytest.raises(NotJoined):
        claimed(transport, "stranger")
    transport.inherit("me", "heir")
    with pytest.raises(NotJoined):
        claimed(transport, "me")

    transport.join("me")
    assert len(claimed(transport)) == 1
    assert transport.workers() == {"me", "other", "heir"}


def test_a_message_that_was_not_started_in_time_has_expired(transport: RedisTransport) -> None:
    late, in_time = sent(transport, job(expires_us=1), job(expires_us=60 * 10**6))
    time.sleep(0.001)  # the shortest that the clock of the server tells is a thousandth of it
    assert {claim.job.id: claim.verdict for claim in claimed(transport)} == {late.id: State.EXPIRED, in_time.id: ""}


def test_queues_are_those_in_which_a_message_waits(transport: RedisTransport) -> None:
    sent(transport, job(queue_name="a"), job(queue_name="b:0"), job(queue_name="b"))
    assert sorted(transport.queues()) == ["a", "b", "b:0"]

    claims = claimed(transport, queue="b:0")
    assert sorted(transport.queues()) == ["a", "b"]
    transport.release(claims)
    transport.purge("a")
    assert sorted(transport.queues()) == ["b", "b:0"]


# --- what comes of claims -------------------------------------------------------------------------------------------


def test_only_the_holder_acks_and_only_once(transport: RedisTransport, redis_server: Redis) -> None:
    sent(transport, job(), job())
    mine, another = claimed(transport)
    foreign = mine._replace(receipt="@other")

    assert transport.ack([foreign]) == set()
    assert transport.release([foreign]) == set()
    assert transport.ack([mine, another._replace(receipt="@other")]) == {mine.job.id}
    assert transport.ack([mine]) == set()
    with redis_server.client() as client:
        assert assert_whole(client) == {another.job.id}


def test_released_messages_go_to_the_front_in_their_order(transport: RedisTransport) -> None:
    jobs = sent(transport, *(job(priority=priority) for priority in (5, 5, 0, 0, 0)))
    claims = transport.claim("default", 4, "me")

    assert transport.release(claims) == set(ids_of(claims))
    assert transport.release(claims) == set()

    again = claimed(transport, "other")
    assert ids_of(again) == [each.id for each in jobs]
    assert [claim.attempt for claim in again] == [1] * 5


def test_thousands_are_released_in_their_order_and_acked(transport: RedisTransport, redis_server: Redis) -> None:
    jobs = sent(transport, *(job() for _ in range(2500)))
    claims = [claim for _ in range(3) for claim in claimed(transport)]

    assert len(transport.release(claims)) == 2500
    again = [claim for _ in range(3) for claim in claimed(transport)]
    assert ids_of(again) == [each.id for each in jobs]
    assert len(transport.ack(again)) == 2500
    with redis_server.client() as client:
        assert assert_whole(client) == set()


def test_what_a_worker_has_claimed_without_knowing_it_goes_back(transport: RedisTransport) -> None:
    jobs = sent(transport, *(job() for _ in range(801)))  # so many that a hash keeps them in no order
    known, *_ = transport.claim("default", 800, "me")
    transport.claim("default", 1, "other")
    transport.inherit("other", "me")

    assert transport.release_unanswered("me", {known.job.id, "unheard-of"}) == 799

    assert ids_of(claimed(transport, "me")) == [each.id for each in jobs[1:-1]]
    assert transport.find([jobs[-1].id])[jobs[-1].id].worker_id == "me"  # inherited, so no claim of its own


# --- inherit ------------------------------------------------------------------------------------------------------


def test_an_heir_has_what_the_dead_held_and_nobody_else_has_it(transport: RedisTransport, redis_server: Redis) -> None:
    sent(transport, *(job() for _ in range(3)))
    claims = claimed(transport)

    inherited = transport.inherit("me", "heir")

    assert {claim for claim, _ in inherited} == {claim._replace(receipt="@heir") for claim in claims}
    assert all(0 <= age < 60 for _, age in inherited)
    assert transport.workers() == {"other", "heir"}
    assert transport.inherit("me", "late") == []
    assert transport.ack(claims) == transport.release(claims) == set()
    assert len(transport.ack([claim for claim, _ in inherited])) == 3
    with redis_server.client() as client:
        assert assert_whole(client) == set()


def test_who_asks_again_is_told_again_what_it_has_inherited(transport: RedisTransport) -> None:
    sent(transport, job(), job())
    (inherited,) = transport.claim("default", 1, "me")
    transport.inherit("me", "other")
    transport.claim("default", 1, "other")

    assert ids_of([claim for claim, _ in transport.inherit("me", "other")]) == [inherited.job.id]


def test_an_heir_that_dies_hands_on_all_that_it_has(transport: RedisTransport) -> None:
    jobs = sent(transport, job(), job(), job())
    transport.claim("default", 1, "me")
    transport.inherit("me", "other")
    transport.claim("default", 1, "other")
    transport.join("heir")
    transport.claim("default", 1, "heir")

    for _ in range(2):  # the second time as after an answer that was lost
        inherited = [claim for claim, _ in transport.inherit("other", "heir")]
        assert {claim.job.id for claim in inherited} == {jobs[0].id, jobs[1].id}
        assert {claim.receipt for claim in inherited} == {"@heir"}


def test_who_inherits_from_itself_loses_nothing(transport: RedisTransport) -> None:
    sent(transport, job())
    claims = claimed(transport)
    transport.inherit("me", "me")
    assert transport.ack(claims) == set(ids_of(claims))


# --- what people ask --------------------------------------------------------------------------------------------------


def test_a_message_is_found_where_it_is(transport: RedisTransport) -> None:
    waits, held, ended = sent(transport, job(), job(priority=1), job(priority=2))
    (last,) = transport.claim("default", 1, "me")
    transport.ack([last])
    transport.claim("default", 1, "other")

    found = transport.find([waits.id, held.id, ended.id, "unheard-of"])

    assert {id_: (each.state, each.worker_id, each.job.attempts) for id_, each in found.items()} == {
        waits.id: (State.READY, "", 0),
        held.id: (State.RUNNING, "other", 1),
    }
    assert found[held.id].job.started_at >= found[held.id].job.enqueued_at > 0
    assert found[waits.id].job._replace(enqueued_at=0.0) == waits


def test_many_are_looked_for_at_once(transport: RedisTransport) -> None:
    jobs = sent(transport, *(job() for _ in range(1234)))
    assert set(transport.find({each.id for each in jobs})) == {each.id for each in jobs}
    assert transport.find([]) == {}


def test_depth_tells_what_waits_and_what_is_held(transport: RedisTransport) -> None:
    sent(transport, job(queue_name="a"), job(queue_name="a", priority=9), job(queue_name="b"), job(queue_name="c"))
    transport.claim("a", 1, "me")
    transport.claim("b", 1, "other")

    depths = {depth.queue_name: depth for depth in transport.depth()}

    assert {name: (each.ready, each.running) for name, each in depths.items()} == {
        "a": (1, 1),
        "b": (0, 1),
        "c": (1, 0),
    }
    assert depths["b"] == Depth("b", running=1)
    assert 0 <= (depths["a"].oldest or 0) < 60


def test_a_purged_queue_is_empty_and_others_are_as_they_were(transport: RedisTransport, redis_server: Redis) -> None:
    sent(transport, *(job(priority=number % 3) for number in range(2345)))
    (held,) = transport.claim("default", 1, "me")
    (other,) = sent(transport, job(queue_name="other"))

    assert transport.purge("default") == 2344
    assert transport.purge("default") == 0

    with redis_server.client() as client:
        assert assert_whole(client) == {held.job.id, other.id}


def test_peek_changes_nothing_and_is_bounded(transport: RedisTransport) -> None:
    jobs = sent(transport, *(job(payload="x" * (HEAVIEST // 2 + 1)) for _ in range(4)))
    assert [found.id for found in transport.peek("default", 10)] == [each.id for each in jobs[:2]]
    assert [found.id for found in transport.peek("default", 1)] == [jobs[0].id]
    assert transport.peek("empty", 10) == []


# --- what cannot be read ----------------------------------------------------------------------------------------------


def test_garbage_fails_with_its_text_and_what_is_no_job_is_removed(
    transport: RedisTransport, redis_server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    torn, timeless, good = job(), job(), job()
    with redis_server.client() as client:
        for id_, body in ((torn.id, b'1.0 {"v": 1, "ta\xff\x00'), (timeless.id, b"pickle"), ("no-uuid\xff", b"1.0 x")):
            client.hset("taskq:{default}:jobs", id_, body)
            client.lpush("taskq:{default}:q:default:0", id_)
        client.zadd("taskq:{default}:ranks:default", {"0": 0})
        client.sadd("taskq:{default}:queues", "default")
        sent(transport, good)
        assert {found.task_path for found in transport.peek("default", 3)} == {"unreadable"}
        assert set(transport.find([torn.id])) == {torn.id}

        claims = claimed(transport)

        assert [(claim.job.id, claim.verdict) for claim in claims] == [
            (torn.id, State.FAILED),
            (timeless.id, State.FAILED),
            (good.id, ""),
        ]
        assert '{"v": 1, "ta' in claims[0].reason
        assert "it is no job" in caplog.text
        inherited = transport.inherit("me", "heir")
        assert {claim.verdict for claim, _ in inherited} == {State.FAILED, ""}
        assert len(transport.ack([claim for claim, _ in inherited])) == 3
        assert assert_whole(client) == set()


def test_a_message_of_a_newer_release_goes_back(transport: RedisTransport, redis_server: Redis) -> None:
    older, newer = sent(transport, job(), job())
    with redis_server.client() as client:
        client.hset("taskq:{default}:jobs", newer.id, b'1.0 {"v": 2, "tasks": []}')

        with pytest.raises(BrokerUnavailable, match="version 2") as raised:
            claimed(transport)

        assert raised.value.known
        assert [found.id for found in transport.peek("default", 5)] == [older.id, newer.id]
        transport.claim("default", 1, "me")
        client.hset("taskq:{default}:h:me", newer.id, b"1.0 0 me default")
        client.rpop("taskq:{default}:q:default:0")
        assert ids_of([claim for claim, _ in transport.inherit("me", "heir")]) == [older.id]
        assert transport.queues() == ["default"]


# --- one name, one store ----------------------------------------------------------------------------------------------


def test_a_name_belongs_to_the_store_that_used_it_first(
    transport: RedisTransport, redis_server: Redis, transport_to: Callable[..., RedisTransport]
) -> None:
    sent(transport, job())
    stranger = transport_to(redis_server, "another store")

    for ask in (
        lambda: stranger.publish([job()], SOON),
        lambda: stranger.claim("default", 1, "me"),
        lambda: stranger.join("x"),
        lambda: stranger.inherit("me", "x"),
        lambda: stranger.purge("default"),
        stranger.queues,
        stranger.workers,
        stranger.depth,
    ):
        with pytest.raises(BrokerError, match=r'belongs to another database.*OPTIONS\["name"\]'):
            ask()

    named = transport_to(redis_server, "another store", name="other")
    named.publish([job()], SOON)
    assert [depth.ready for depth in (*transport.depth(), *named.depth())] == [1, 1]


def test_a_server_that_forgot_its_scripts_is_told_them_again(transport: RedisTransport, redis_server: Redis) -> None:
    with redis_server.client() as client:
        client.script_flush()
        sent(transport, job())
        client.script_flush()
        assert len(transport.ack(claimed(transport))) == 1


def test_the_keys_are_those_that_are_written_down(transport: RedisTransport, redis_server: Redis) -> None:
    sent(transport, job(), job(queue_name="mail"))
    claimed(transport)
    with redis_server.client() as client:
        keys = client.keys()
        assert {key.decode(): client.type(key).decode() for key in keys} == {
            "taskq:{default}:store": "string",
            "taskq:{default}:q:mail:0": "list",
            "taskq:{default}:ranks:mail": "zset",
            "taskq:{default}:queues": "set",
            "taskq:{default}:jobs": "hash",
            "taskq:{default}:h:me": "hash",
            "taskq:{default}:workers": "set",
            "taskq:{default}:bell": "list",
        }
        assert all(client.ttl(key) == -1 for key in keys)  # volatile-* evicts nothing of ours


def test_it_says_where_it_is(transport: RedisTransport, redis_server: Redis) -> None:
    assert transport.describe().startswith(f"Redis at 127.0.0.1:{redis_server.port}/0")

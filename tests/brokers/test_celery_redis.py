"""The lists of a Celery app in Redis: what is there after each step, by the eyes of stock kombu and a real app."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import pytest

pytest.importorskip("kombu", reason="kombu is not installed (extra redis)")

from kombu import Connection, Consumer, Queue
from redis import Redis as Client

from taskq_django.brokers.kombu.celery_redis import CeleryRedisTransport, queues_of
from taskq_django.brokers.kombu.connection import RedisConnection
from taskq_django.brokers.messages.transport import HOLDER, NotJoined
from taskq_django.codec import decode_call, encode_call
from taskq_django.codec.calls import MIB
from taskq_django.exceptions import BrokerError, BrokerUnavailable, PayloadTooLarge
from taskq_django.jobs import Claim, Job
from tests.support.redis_servers import Redis
from tests.support.sending import job

pytestmark = [pytest.mark.once, pytest.mark.thorough]

ME, OTHER = "worker-1", "worker-2"
STORE = "6f1c0a52-0000-0000-0000-000000000001"
SEP = "\x06\x16"
SOON = 30.0


@pytest.fixture
def server(redis_server: Redis) -> Redis:
    return redis_server


@pytest.fixture
def client(server: Redis) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def make(server: Redis, client: Client) -> Iterator[Callable[..., CeleryRedisTransport]]:
    made: list[CeleryRedisTransport] = []

    def make(store: str = STORE, queues: Any = ("default", "mail"), **options: Any) -> CeleryRedisTransport:
        connection = RedisConnection(server.url, options)
        transport = CeleryRedisTransport("fast", connection, lambda: store, queue_names=lambda: queues, max_payload=MIB)
        transport.join(ME)
        made.append(transport)
        return transport

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def transport(make: Callable[..., CeleryRedisTransport]) -> CeleryRedisTransport:
    return make()


@pytest.fixture
def send(server: Redis) -> Callable[..., str]:
    """``send_task`` of a real Celery app; returns the id."""
    celery = pytest.importorskip("celery", reason="celery is not installed (dependency group celery)")
    app = celery.Celery("tests", broker=server.url, set_as_current=False)
    app.conf.task_default_queue = "default"

    def send(*args: Any, **options: Any) -> str:
        return app.send_task("tests.app.tasks.add", args, **options).id

    return send


def sent(**changes: Any) -> Job:
    return job(backend="fast", **changes)


def claim_all(transport: CeleryRedisTransport, queue: str = "default") -> list[Claim]:
    return transport.claim(queue, 100, ME)


def lists(client: Client) -> dict[str, int]:
    """All but what is ours, and Celery's names of queues."""
    keys = [key for key in client.scan_iter() if not key.startswith(b"taskq:") and b"_kombu." not in key]
    return {key.decode(): client.llen(key) for key in keys}


def consume(server: Redis, queue: str, **options: Any) -> list[Any]:
    """By stock kombu: the messages of a queue."""
    found: list[Any] = []
    with Connection(server.url, transport_options=options) as connection, connection.channel() as channel:
        consumer = Consumer(channel, [Queue(queue, channel=channel)], accept=["json"])
        consumer.register_callback(lambda body, message: (found.append(message), message.ack()))
        while message := consumer.queues[0].get():
            consumer.receive(message.payload, message)
    return found


# --- one wire ---------------------------------------------------------------------------------------------------


def test_stock_kombu_reads_what_we_wrote(transport: CeleryRedisTransport, server: Redis) -> None:
    values = [1, "é", b"\xff", datetime(2026, 1, 2, tzinfo=UTC), UUID(int=5)]
    mine = sent(payload=encode_call(values, {"x": 3}), priority=-40, expires_us=60_000_000)
    transport.publish([mine], SOON)

    (message,) = consume(server, "default")

    assert message.payload == [values, {"x": 3}, dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))]
    assert (message.headers["task"], message.headers["id"]) == (mine.task_path, mine.id)
    assert message.properties["priority"] == 6
    assert datetime.fromisoformat(message.headers["expires"]) > datetime.now(UTC) + timedelta(seconds=30)


def test_we_write_what_a_celery_app_writes(
    transport: CeleryRedisTransport, client: Client, send: Callable[..., str]
) -> None:
    """The same keys, the same fields of an envelope, and the same bindings, byte by byte.

    In a queue of its own, because kombu declares one once in a process.
    """
    send(1, 2, queue="bills", priority=3, expires=60)
    theirs, bindings = json.loads(client.rpop(f"bills{SEP}3")), bound(client)
    client.flushall()
    transport.publish([sent(queue_name="bills", priority=-1, payload="[[1,2],{}]", expires_us=60_000_000)], SOON)
    ours = json.loads(client.rpop(f"bills{SEP}3"))

    assert bound(client) == bindings
    assert ours["headers"].pop("taskq")["priority"] == -1
    for part in ("headers", "properties"):
        assert ours[part].keys() == theirs[part].keys()
    for message in (ours, theirs):
        for key in ("id", "root_id", "origin", "expires"):
            del message["headers"][key]
        for key in ("correlation_id", "reply_to", "delivery_tag", "expiration"):
            del message["properties"][key]
    assert ours == theirs


def bound(client: Client) -> dict[bytes, set[bytes]]:
    return {key: client.smembers(key) for key in client.keys("_kombu*")}


def test_a_task_that_a_celery_app_sends_is_claimed(transport: CeleryRedisTransport, send: Callable[..., str]) -> None:
    values = [datetime(2026, 1, 2, tzinfo=UTC), date(2026, 1, 2), UUID(int=5), b"ab"]
    id_ = send(*values)

    assert transport.queues() == ["default"]
    (claim,) = claim_all(transport)

    assert claim.job.id == id_
    assert (claim.job.task_path, claim.job.queue_name, claim.job.attempts) == ("tests.app.tasks.add", "default", 1)
    assert decode_call(claim.job.payload) == (values, {})
    assert (claim.verdict, claim.receipt, claim.job.run_after) == ("", HOLDER + ME, None)


def test_a_countdown_of_a_celery_app_is_the_time_to_run_after(
    transport: CeleryRedisTransport, send: Callable[..., str]
) -> None:
    send(1, countdown=60, expires=90)
    (claim,) = claim_all(transport)
    assert claim.job.run_after is not None
    assert 30 < (claim.job.run_after - datetime.now(UTC)).total_seconds() <= 60
    assert claim.job.expires_us == pytest.approx(30e6, abs=10e6)


def test_priorities_of_both_are_one_order(transport: CeleryRedisTransport, send: Callable[..., str]) -> None:
    first = send(1, priority=9), send(1, priority=4), send(1), send(1, priority=6)
    ours = [sent(priority=priority) for priority in (-50, 100, -100, 0)]
    transport.publish(ours, SOON)

    claimed = [claim.job.id for claim in claim_all(transport)]

    assert claimed == [first[2], ours[1].id, ours[3].id, first[1], first[3], ours[0].id, first[0], ours[2].id]


def test_a_prefix_of_all_keys_is_that_of_the_app(
    make: Callable[..., CeleryRedisTransport], client: Client, server: Redis
) -> None:
    transport = make(global_keyprefix="shop-")
    transport.publish([sent(), sent(priority=-50)], SOON)
    assert lists(client) == {"shop-default": 1, f"shop-default{SEP}6": 1}
    claims = claim_all(transport)
    assert len(claims) == 2
    assert lists(client) == {}
    transport.release(claims)
    assert lists(client) == {"shop-default": 1, f"shop-default{SEP}6": 1}
    assert len(consume(server, "default", global_keyprefix="shop-")) == 2


# --- what is held is nowhere else -------------------------------------------------------------------------------


def test_a_claimed_message_is_with_its_holder_until_its_ack(transport: CeleryRedisTransport, client: Client) -> None:
    mine = sent()
    transport.publish([mine], SOON)

    claims = claim_all(transport)

    assert lists(client) == {}
    assert client.exists("unacked") == 0
    assert transport.find([mine.id])[mine.id].worker_id == ME
    assert claim_all(transport) == []
    assert transport.ack(claims) == {mine.id}
    assert transport.ack(claims) == set()
    assert client.hlen("taskq:{fast}:jobs") == 0


def test_a_released_message_is_at_the_front_again_byte_by_byte(
    transport: CeleryRedisTransport, client: Client, server: Redis
) -> None:
    transport.publish([sent(), sent(), sent(priority=-1)], SOON)
    before = [client.lrange(name, 0, -1) for name in ("default", f"default{SEP}3")]
    claims = transport.claim("default", 1, ME) + transport.claim("default", 2, ME)
    assert transport.release(claims) == {claim.job.id for claim in claims}
    assert [client.lrange(name, 0, -1) for name in ("default", f"default{SEP}3")] == before
    assert client.hlen("taskq:{fast}:jobs") == 0
    assert len(consume(server, "default")) == 3


def test_what_was_claimed_without_an_answer_goes_back(transport: CeleryRedisTransport, client: Client) -> None:
    transport.publish([sent(), sent()], SOON)
    kept, lost = claim_all(transport)
    assert transport.release_unanswered(ME, {kept.job.id}) == 1
    assert [claim.job.id for claim in claim_all(transport)] == [lost.job.id]


def test_an_heir_has_the_messages_of_a_dead_process(transport: CeleryRedisTransport) -> None:
    mine = sent(queue_name="mail", priority=-70)
    transport.publish([mine], SOON)
    claim_all(transport, "mail")

    ((claim, age),) = transport.inherit(ME, OTHER)

    assert claim.job.id == mine.id
    assert (claim.job.queue_name, claim.job.priority, claim.receipt) == ("mail", -70, HOLDER + OTHER)
    assert 0 <= age < 60
    with pytest.raises(NotJoined):
        claim_all(transport)
    assert transport.release([claim]) == {mine.id}
    assert [each.job.id for each in transport.claim("mail", 5, OTHER)] == [mine.id]


def test_a_limit_is_kept_over_all_lists(transport: CeleryRedisTransport) -> None:
    transport.publish([sent(priority=priority) for priority in (0, 0, -1, -40, -70)], SOON)
    assert [len(transport.claim("default", 3, ME)) for _ in range(3)] == [3, 2, 0]


def test_heavy_messages_are_claimed_few_at_a_time(transport: CeleryRedisTransport) -> None:
    transport.publish([sent(payload=encode_call(["x" * (MIB - 100)], {})) for _ in range(6)], SOON)
    assert [len(claim_all(transport)) for _ in range(3)] == [3, 3, 0]


def test_a_claim_that_fails_on_the_way_leaves_all_where_it_was(transport: CeleryRedisTransport, client: Client) -> None:
    transport.publish([sent(), sent(), sent(priority=-1), sent(task_path="nowhere.tasks.report")], SOON)
    before = lists(client), client.lrange("default", 0, -1)
    client.set(f"taskq:{{fast}}:h:{ME}", "of another type")
    with pytest.raises(BrokerError):
        claim_all(transport)
    assert (lists(client), client.lrange("default", 0, -1)) == before
    assert client.hlen("taskq:{fast}:jobs") == 0


def test_a_full_server_takes_nothing_and_gives_what_it_has(transport: CeleryRedisTransport, client: Client) -> None:
    """What is claimed there is held or released as always."""
    transport.publish([sent(priority=-1) for _ in range(300)], SOON)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerUnavailable) as full:
            transport.publish([sent(), sent()], SOON)
        assert full.value.known
        claims = [*transport.claim("default", 200, ME), *transport.claim("default", 200, ME)]
        assert len(claims) == 300
        assert len(transport.release(claims[:100])) == 100
        assert len(transport.ack(claims[100:])) == 200
        assert lists(client) == {f"default{SEP}3": 100}
    finally:
        client.config_set("maxmemory", 0)


def test_very_many_are_claimed_a_thousand_at_a_time(transport: CeleryRedisTransport, client: Client) -> None:
    transport.publish([sent() for _ in range(1100)], SOON)
    claims = transport.claim("default", 100_000, ME)
    assert len(claims) == 1000
    assert client.hlen(f"taskq:{{fast}}:h:{ME}") == client.hlen("taskq:{fast}:jobs") == 1000
    assert len(transport.release(claims)) == 1000
    assert lists(client) == {"default": 1100}


def test_a_publish_that_fails_on_the_way_puts_nothing(transport: CeleryRedisTransport, client: Client) -> None:
    client.set(f"default{SEP}3", "of another type")
    with pytest.raises(BrokerError):
        transport.publish([sent(), sent(), sent(priority=-1)], SOON)
    assert client.llen("default") == 0


def test_a_job_is_refused_at_the_caller_whose_envelope_would_hold_everybody_up(
    transport: CeleryRedisTransport,
) -> None:
    """Base64 makes more of it than the native form does."""
    payload = encode_call(["x" * (52 << 20)], {}, max_bytes=64 << 20)
    with pytest.raises(PayloadTooLarge, match="a message of 72,7"):
        transport.check([sent(payload=payload)])


def test_a_name_belongs_to_one_store(
    transport: CeleryRedisTransport, make: Callable[..., CeleryRedisTransport]
) -> None:
    transport.publish([sent()], SOON)
    with pytest.raises(BrokerError, match="belongs to another database"):
        make(store=str(uuid4())).publish([sent()], SOON)


def test_a_job_is_published_once_however_often_it_is_asked_for(transport: CeleryRedisTransport, client: Client) -> None:
    mine = sent()
    for _ in range(2):
        transport.publish([mine, mine], SOON)
    assert lists(client) == {"default": 1}
    (claim,) = claim_all(transport)
    transport.publish([mine], SOON)
    assert lists(client) == {}
    transport.release([claim])
    transport.publish([mine], SOON)
    assert lists(client) == {"default": 1}


def test_the_engine_knows_what_was_published_until_it_is_done(transport: CeleryRedisTransport, server: Redis) -> None:
    waits, taken, held, done = (sent(priority=priority) for priority in (-1, -1, 0, 0))
    jobs = [held, done, taken, waits]
    transport.publish(jobs, SOON)
    transport.ack(transport.claim("default", 2, ME)[1:])
    (message,) = consume(server, "default")[:1]
    assert message.headers["id"] == taken.id
    assert transport.known([job.id for job in jobs] + [str(uuid4())]) == {waits.id, taken.id, held.id}


# --- by any hand -----------------------------------------------------------------------------------------------


def test_a_bad_element_ends_as_failed_and_its_neighbours_run(transport: CeleryRedisTransport, client: Client) -> None:
    bad = [b"not json", b"", b"\xff\xfe\0", b"{", b"[]", b'{"headers": 3}', b'{"headers": {"id": 3}}', b"[" * 5000]
    mine = sent()
    client.lpush("default", *bad)
    transport.publish([mine], SOON)

    *claims, good = claim_all(transport)

    assert (good.job.id, good.verdict) == (mine.id, "")
    assert [claim.verdict for claim in claims] == ["FAILED"] * len(bad)
    assert len({claim.job.id for claim in claims}) == len(bad)
    assert {(UUID(claim.job.id).variant, UUID(claim.job.id).version) for claim in claims} == {(RFC_4122, 8)}
    assert transport.release(claims) == {claim.job.id for claim in claims}
    assert client.lrange("default", 0, -1) == bad[::-1]


def test_an_element_that_is_too_large_is_neither_read_nor_lost(transport: CeleryRedisTransport, client: Client) -> None:
    element = b'{"headers": {"id": "x"}, "body": "' + b"x" * (20 * MIB) + b'"}'
    client.lpush("default", element, b"behind it")
    (claim,) = claim_all(transport)
    assert claim.verdict == "FAILED"
    assert f"{len(element):,} bytes" in claim.reason
    ((inherited, _),) = transport.inherit(ME, OTHER)
    assert inherited.reason == claim.reason
    transport.release([inherited])
    assert client.lrange("default", 0, -1) == [b"behind it", element]


def test_what_is_for_celerys_workers_is_left_to_them_and_stands_in_nobodys_way(
    transport: CeleryRedisTransport, client: Client, server: Redis
) -> None:
    theirs, mine = [sent(task_path="nowhere.tasks.report") for _ in range(3)], sent()
    transport.publish([*theirs, mine], SOON)
    assert [len(transport.claim("default", 2, ME)) for _ in range(3)] == [0, 1, 0]
    assert {message.headers["id"] for message in consume(server, "default")} == {each.id for each in theirs}
    assert transport.known([each.id for each in theirs]) == {each.id for each in theirs}


def test_two_messages_of_one_id_are_two_jobs_while_the_first_is_held(
    transport: CeleryRedisTransport, send: Callable[..., str]
) -> None:
    id_ = send(1, task_id=str(uuid4()))
    send(2, task_id=id_)
    send(3, task_id="of the night")
    send(4, task_id="ed0d1292-643d-9ed8-18d9-a191829b0f41")  # which MariaDB does not take for a UUID

    claims = claim_all(transport)

    assert [claim.job.payload for claim in claims] == ["[[1],{}]", "[[2],{}]", "[[3],{}]", "[[4],{}]"]
    assert len({claim.job.id for claim in claims}) == 4
    assert claims[0].job.id == id_
    assert [json.loads(claim.job.headers) for claim in claims[1:]] == [
        {"celery_id": id_},
        {"celery_id": "of the night"},
        {"celery_id": "ed0d1292-643d-9ed8-18d9-a191829b0f41"},
    ]
    assert len(transport.ack(claims)) == 4


def test_a_list_of_another_type_is_an_error_and_no_loss(transport: CeleryRedisTransport, client: Client) -> None:
    client.set("mail", "a text")
    with pytest.raises(BrokerError):
        transport.claim("mail", 1, ME)


# --- for people --------------------------------------------------------------------------------------------------


def test_depth_peek_and_purge_tell_of_what_waits(
    transport: CeleryRedisTransport, client: Client, send: Callable[..., str]
) -> None:
    mine = [sent(), sent(priority=-1), sent()]
    transport.publish(mine, SOON)
    (held,) = transport.claim("default", 1, ME)
    id_ = send(1, queue="mail")

    default, mail = transport.depth()

    assert (default.queue_name, default.ready, default.running) == ("default", 2, 1)
    assert default.oldest is not None
    assert 0 <= default.oldest < 60
    assert (mail.queue_name, mail.ready, mail.running, mail.oldest) == ("mail", 1, 0, 0.0)
    assert held.job.id == mine[0].id
    assert [each.id for each in transport.peek("default", 5)] == [mine[2].id, mine[1].id]
    assert [each.id for each in transport.peek("default", 1)] == [mine[2].id]
    assert [each.id for each in transport.peek("mail", 5)] == [id_]
    assert transport.purge("default") == 2
    assert lists(client) == {"mail": 1}


def test_queues_are_looked_at_that_are_named_or_that_we_have_published_to(
    make: Callable[..., CeleryRedisTransport], client: Client
) -> None:
    transport = make(queues=["mail"])
    client.lpush("celeryev", "not ours")
    transport.publish([sent(queue_name="elsewhere"), sent(queue_name="legacy", task_path="nowhere.tasks.report")], SOON)
    client.lpush("mail", "by another hand")
    assert make(queues=["mail"]).queues() == ["mail", "elsewhere"]
    assert transport.claim("celeryev", 5, ME) == transport.claim("legacy", 5, ME) == []
    assert len(transport.claim("elsewhere", 5, ME)) == 1


def test_threads_may_publish_at_the_same_time(transport: CeleryRedisTransport) -> None:
    jobs = [[sent(queue_name=queue) for _ in range(50)] for queue in ("default", "mail") for _ in range(4)]
    threads = [threading.Thread(target=transport.publish, args=(batch, SOON)) for batch in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed = [
        claim.job.id for queue in ("default", "mail") for _ in range(2) for claim in transport.claim(queue, 100, ME)
    ]
    assert sorted(claimed) == sorted(each.id for batch in jobs for each in batch)


def test_a_backend_without_queues_looks_where_its_tasks_and_celerys_clients_send() -> None:
    assert {"default", "celery"} <= set(queues_of("default"))


def test_only_a_task_that_is_not_here_is_for_celerys_workers(transport: CeleryRedisTransport) -> None:
    assert transport.is_for_others(job(task_path="nowhere.tasks.report"))
    assert not transport.is_for_others(job(task_path="nowhere.tasks.report", payload=encode_call([{1}], {})))
    assert not transport.is_for_others(job())

"""A job as a Celery message and back, by what stock kombu and a real Celery app write and read."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from taskq_django.brokers.kombu.celery_wire import Envelope, Reader, check, priority_of, step_of, write
from taskq_django.codec import decode_call, encode_call
from taskq_django.codec.calls import MIB
from taskq_django.exceptions import ArgumentError
from taskq_django.jobs import Claim, Job, new_id
from tests.support.sending import job

pytestmark = [pytest.mark.once, pytest.mark.thorough]

NOW = 1_800_000_000.0
MOMENT = datetime.fromtimestamp(NOW, UTC)
BERLIN = ZoneInfo("Europe/Berlin")
READER = Reader("fast", BERLIN, MIB)
TYPED = [
    datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    datetime(2026, 1, 2),  # noqa: DTZ001
    datetime(2026, 7, 2, tzinfo=BERLIN),
    date(2026, 1, 2),
    time(3, 4, 5),
    Decimal("1.10"),
    UUID(int=5),
    b"text",
    b"\xff\0",
    2**70,
    {"$t": "a key like ours", "nested": [None, True, 1.5, "é"]},
]


def envelope(text: Any, id_: str = "", step: int = 0) -> Envelope:
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return Envelope(id_ or new_id(), text, len(text), "mail", step)


def celery_message(body: Any = ([], {}, {}), content: dict[str, Any] | None = None, **headers: Any) -> dict[str, Any]:
    """As a Celery app of 5.7 writes it."""
    id_ = str(uuid4())
    named = {"lang": "py", "task": "app.tasks.add", "id": id_, "root_id": id_, "retries": 0, "eta": None, **headers}
    text = body if isinstance(body, str) else json.dumps(body)
    return {
        "body": base64.b64encode(text.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {key: value for key, value in named.items() if value is not ...},
        "properties": {"correlation_id": id_, "body_encoding": "base64", "delivery_tag": str(uuid4()), "priority": 0},
        **(content or {}),
    }


def read(message: Any, id_: str = "", step: int = 0) -> Claim:
    return READER.read(envelope(message, id_, step), "@me", NOW)


def as_kombu_writes(sent: Job, now: float = NOW) -> bytes:
    """What kombu's Producer makes of it, taken from its transport in memory before it goes anywhere."""
    kombu = pytest.importorskip("kombu")
    message = write(sent, now, "taskq@here")
    with kombu.Connection("memory://") as connection:
        producer = connection.Producer()
        producer.publish(
            message.body,
            exchange="",
            routing_key=message.queue_name,
            headers=message.headers,
            priority=message.priority,
            expiration=message.expiration,
            correlation_id=sent.id,
            serializer="json",
        )
        from kombu.utils.json import dumps

        return dumps(producer.channel._get(message.queue_name)).encode()


# --- ours, written and read again -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", TYPED, ids=repr)
def test_a_typed_argument_comes_back_equal_from_kombus_own_json(value: Any) -> None:
    sent = job(payload=encode_call([value], {"nested": [value]}))

    claim = read(as_kombu_writes(sent), sent.id)

    assert claim.verdict == "", claim.reason
    assert decode_call(claim.job.payload) == ([value], {"nested": [value]})


@pytest.mark.parametrize("value", TYPED, ids=repr)
def test_stock_kombu_reads_the_same_arguments(value: Any) -> None:
    kombu_json = pytest.importorskip("kombu.utils.json")
    found = json.loads(as_kombu_writes(job(payload=encode_call([value], {}))))

    args, kwargs, embed = kombu_json.loads(base64.b64decode(found["body"]))

    assert (args, kwargs) == ([value], {})
    assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def test_a_job_comes_back_with_all_that_it_was_sent_with() -> None:
    headers = '{"sensitive":{"names":["password"],"parameters":["password"]},"metadata":{"tenant":3}}'
    sent = job(priority=-7, headers=headers, queue_name="mail", backend="fast", expires_us=60_000_000, tries=2)

    claim = read(as_kombu_writes(sent, NOW - 10), sent.id, step_of(-7))

    assert claim == Claim(sent._replace(attempts=1, enqueued_at=NOW - 10), "@me", 10.0)


def test_a_job_that_has_not_started_in_time_has_expired() -> None:
    sent = job(expires_us=5_000_000)
    assert read(as_kombu_writes(sent, NOW - 4)).verdict == ""
    assert read(as_kombu_writes(sent, NOW - 6)).verdict == "EXPIRED"


def test_sensitive_arguments_are_not_shown_beside_the_message() -> None:
    secret = job(payload='[["hunter2"],{"password":"hunter2"}]', headers='{"sensitive":{"names":["password"]}}')
    shown, hidden = write(job(payload='[[2],{"x":1}]'), NOW, "").headers, write(secret, NOW, "").headers
    assert (shown["argsrepr"], shown["kwargsrepr"]) == ("(2,)", "{'x': 1}")
    assert "hunter2" not in json.dumps(hidden)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ((1, 2), "args[0] of type tuple has no form in Celery's messages: pass a list"),
        ({1}, "args[0] of type set has no form in Celery's messages: pass a list"),
        (frozenset(), "args[0] of type frozenset has no form in Celery's messages: pass a list"),
        ({"a": [timedelta(1)]}, "args[0]['a'][0] of type timedelta has no form in Celery's messages: pass its total_"),
        ({"__type__": "uuid", "__value__": 1}, "args[0] is a dict with the keys __type__ and __value__"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_kombu_has_no_word_for_is_refused_at_the_caller(value: Any, told: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        check(job(payload=encode_call([value], {})))
    assert str(refused.value).startswith(told)


def test_a_queue_with_control_characters_is_refused_at_the_caller() -> None:
    with pytest.raises(ArgumentError, match="printable"):
        check(job(queue_name="default\x06\x163"))


@pytest.mark.parametrize(
    ("ours", "step", "back"),
    [(100, 0, 0), (0, 0, 0), (-1, 3, -33), (-33, 3, -33), (-34, 6, -66), (-66, 6, -66), (-67, 9, -99), (-100, 9, -99)],
)
def test_a_priority_has_its_list_and_a_list_its_priority(ours: int, step: int, back: int) -> None:
    assert (step_of(ours), priority_of(step)) == (step, back)
    assert step_of(back) == step


# --- by another hand --------------------------------------------------------------------------------------------


def test_a_message_of_celery_becomes_the_job_that_it_asks_for() -> None:
    id_ = str(uuid4())
    claim = read(celery_message(([1, 2], {"x": 3}, None), retries=2, id=id_), id_, step=3)

    assert claim.job == Job(
        id_, "app.tasks.add", '[[1,2],{"x":3}]', "fast", "mail", -33, tries=2, attempts=1, enqueued_at=NOW
    )
    assert (claim.receipt, claim.waited, claim.verdict) == ("@me", 0.0, "")


def test_a_message_needs_no_more_than_a_task_and_an_id() -> None:
    message = celery_message()
    message["headers"] = {"task": "app.tasks.add", "id": "x"}
    message |= {"properties": {}, "body": '[[1],{},{"chord":null}]'}
    claim = read(message)
    assert (claim.verdict, claim.job.payload) == ("", "[[1],{}]")
    assert json.loads(claim.job.headers) == {"celery_id": "x"}


def test_a_message_whose_eta_is_to_come_says_when_it_may_run() -> None:
    eta = MOMENT + timedelta(seconds=20)
    message = celery_message(eta=eta.isoformat(), expires=(eta + timedelta(seconds=5)).isoformat())
    claim = read(message)
    assert (claim.job.run_after, claim.job.expires_us, claim.verdict) == (eta, 5_000_000, "")


def test_a_message_whose_eta_has_passed_waits_no_more() -> None:
    claim = read(celery_message(eta=(MOMENT - timedelta(seconds=20)).isoformat()))
    assert (claim.job.run_after, claim.verdict) == (None, "")


def test_a_time_without_a_zone_is_of_this_project() -> None:
    claim = read(celery_message(eta="2099-07-02T12:00:00"))
    assert claim.job.run_after == datetime(2099, 7, 2, 10, tzinfo=UTC)


def test_the_end_of_the_calendar_is_a_hundred_years_from_now() -> None:
    claim = read(celery_message(eta="9999-12-31T23:59:59+00:00", expires="9999-12-31T23:59:59+00:00"))
    assert claim.job.run_after == MOMENT + timedelta(days=36_500)
    assert claim.job.expires_us == 0
    early = read(celery_message(eta="0001-01-01T00:00:00+00:00", expires="2999-01-01T00:00:00+00:00"))
    assert (early.verdict, early.job.run_after) == ("", None)


def test_a_message_that_expired_ends_so() -> None:
    assert read(celery_message(expires=(MOMENT - timedelta(seconds=1)).isoformat())).verdict == "EXPIRED"


def test_headers_of_the_sender_are_the_metadata_of_the_job() -> None:
    claim = read(celery_message(tenant=3, traceparent="00-1"))
    assert json.loads(claim.job.headers)["metadata"] == {"tenant": 3, "traceparent": "00-1"}


PICKLE = "only JSON is read here (task_serializer = 'json' in the Celery app)"
SIGNATURE = {"task": "app.tasks.add", "args": [], "kwargs": {}, "options": {}}
BAD: list[tuple[Any, str]] = [
    (b"not json", "it is not JSON. It begins: not json"),
    (b"\xff\0", "it is not JSON. It begins: \\xff\\x00"),
    (b"[" * 100_000, "it is not JSON"),
    (b"[]", "it is no envelope of kombu: it has no headers"),
    ({"headers": None}, "it is no envelope of kombu: it has no headers"),
    (celery_message(task=...), "its headers have no task and id, as of protocol 2"),
    (celery_message(id=...), "its headers have no task and id, as of protocol 2"),
    (celery_message(task=["x"]), "the name of its task is none"),
    (celery_message(task="x" * 256), "the name of its task is none"),
    (celery_message(task="a\0b"), "the name of its task is none"),
    (celery_message(content={"content-type": "application/x-python-serialize"}), PICKLE),
    (celery_message(content={"content-type": "application/x-yaml"}), PICKLE),
    (celery_message(content={"content-type": "application/x-msgpack"}), PICKLE),
    (celery_message(content={"content-type": None}), PICKLE),
    (celery_message(content={"content-encoding": "latin-1"}), "its body is no text in utf-8"),
    (celery_message(content={"body": "%%%"}), "its body is not JSON"),
    (celery_message(content={"body": "//8="}), "its body is no text in utf-8"),
    (celery_message(content={"body": 3}), "its body is no text in utf-8"),
    (celery_message(compression="application/x-gzip"), "its body is compressed"),
    (celery_message("{"), "its body is not JSON"),
    (celery_message("[" * 100_000), "its body is nested too deep"),
    (celery_message({"args": []}), "its body is not [args, kwargs, embed]"),
    (celery_message([1, 2, 3]), "its body is not [list, dict, dict]"),
    (celery_message("[[NaN],{},{}]"), "an argument is NaN"),
    (celery_message(["\ud800"]), "its body is not [args, kwargs, embed]"),
    (celery_message([["\ud800"], {}, {}]), "args[0] has a lone surrogate"),
    (celery_message([["\0"], {}, {}]), "args[0] has NUL in it"),
    (celery_message([["x" * (MIB + 1)], {}, {}]), "arguments are 1,048,586 bytes"),
    (celery_message([[{"__type__": "Money", "__value__": 1}], {}, {}]), "an argument has the type 'Money'"),
    (celery_message([[{"__type__": [], "__value__": 1}], {}, {}]), "an argument has the type []"),
    (celery_message([[{"__type__": "uuid", "__value__": 1}], {}, {}]), "an argument is marked as uuid, and is none"),
    (celery_message([[{"__type__": "decimal", "__value__": "NaN"}], {}, {}]), "args[0] is Decimal NaN"),
    (celery_message([[], {}, {"chord": SIGNATURE}]), "it is a part of a chord"),
    (celery_message(chord=SIGNATURE), "it is a part of a chord"),
    (celery_message([[], {}, {"chain": [SIGNATURE]}]), "it is followed by the rest of a chain"),
    (celery_message([[], {}, {"callbacks": [SIGNATURE]}]), "it has callbacks (link)"),
    (celery_message([[], {}, {"errbacks": [SIGNATURE]}]), "it has errbacks (link_error)"),
    (celery_message(eta="tomorrow"), "its eta is no time"),
    (celery_message(eta=5), "its eta is no time"),
    (celery_message(expires="0001-01-01T00:00:00+23:00"), "its expires is no time"),
    (celery_message(retries="two"), "its retries are no number"),
    (celery_message(retries=-1), "its retries are no number"),
]


@pytest.mark.parametrize(("message", "told"), BAD, ids=[f"{n}-{told[:30]}" for n, (_, told) in enumerate(BAD)])
def test_what_cannot_be_run_ends_as_failed_and_says_why(message: Any, told: str) -> None:
    claim = read(message)
    assert (claim.verdict, claim.job.payload) == ("FAILED", "[[],{}]")
    assert told in claim.reason
    assert len(claim.reason) <= 4096
    claim.reason.encode()
    assert "\0" not in claim.reason + claim.job.task_path


def test_a_message_of_two_hundred_megabytes_is_not_read() -> None:
    claim = READER.read(Envelope(new_id(), b'{"body": "', 200 << 20, "mail", 0), "@me", NOW)
    assert claim.verdict == "FAILED"
    assert "it is too large, with 209,715,200 bytes" in claim.reason


def test_the_reason_shows_no_argument_of_a_message_that_names_its_task() -> None:
    message = celery_message([["hunter2"], {}, {"chord": SIGNATURE}], argsrepr="('hunter2',)")
    claim = read(message)
    assert claim.job.task_path == "app.tasks.add"
    assert "hunter2" not in claim.reason
    assert message["body"][:20] not in claim.reason

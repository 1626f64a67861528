"""Groups have a weight: what reads or writes many jobs at once needs little memory, however much the jobs carry."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import pre_delete
from django.utils import timezone

from taskq_django import control
from taskq_django.brokers import Broker, broker_for
from taskq_django.conf import BackendOptions
from taskq_django.exceptions import BrokerError
from taskq_django.jobs import Failed, Failure, Job, Succeeded
from taskq_django.models import JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.store import pruning
from taskq_django.store.weights import HEAVIEST, cut
from tests.support.sending import as_sent, job

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 1 << 20
LARGE = f'[["{"x" * MIB}"],{{}}]'


@pytest.fixture
def broker() -> Broker:
    return broker_for("default", BackendOptions())


@contextmanager
def little_memory(most: int) -> Iterator[None]:
    """No more MiB are used inside than that."""
    tracemalloc.start()
    try:
        yield
        used = tracemalloc.get_traced_memory()[1] // MIB
    finally:
        tracemalloc.stop()
    assert used <= most, f"{used} MiB"


def send_large(broker: Broker, count: int, **changes: object) -> list[Job]:
    jobs = [job(payload=LARGE, **changes) for _ in range(count)]
    broker.send(jobs)
    return jobs


def claims_until_empty(broker: Broker, limit: int = 600) -> Iterator[list[Any]]:
    while claims := broker.claim(["default"], limit, "w1"):
        yield claims


@pytest.mark.parametrize(
    "payloads",
    [
        [LARGE] * 60,
        ['["x"],{}'] * 200 + [LARGE] * 40,  # what came before says nothing of what comes
        (['["x"],{}'] * 9 + [LARGE]) * 30,
        [f'[["{"話" * (MIB // 3)}"],{{}}]'] * 40,
        [f'[["{"x" * 8 * MIB}"],{{}}]'] * 3,
    ],
    ids=["large ones", "large ones after many", "mixed", "not ASCII", "each over the bound"],
)
def test_large_jobs_are_claimed_a_few_at_a_time(broker: Broker, payloads: list[str]) -> None:
    jobs = [job(payload=payload) for payload in payloads]
    for start in range(0, len(jobs), 20):
        broker.send(jobs[start : start + 20])
    seen = []
    with little_memory(40):
        for claims in claims_until_empty(broker):
            *before, _ = [len(claim.job.payload) for claim in claims]
            assert sum(before) < HEAVIEST
            seen += [claim.job.id for claim in claims]
            del claims
    assert seen == [each.id for each in jobs]


def test_what_is_claimed_is_whole(broker: Broker) -> None:
    jobs = [job(payload=LARGE, headers='{"metadata":{"a":1}}'), job(headers=f'{{"metadata":"{"y" * MIB}"}}'), job()]
    broker.send(jobs)
    assert [as_sent(claim) for claim in broker.claim(["default"], 10, "w1")] == jobs


def test_light_jobs_are_claimed_as_many_as_are_asked_for(broker: Broker) -> None:
    broker.send([job(payload=f'[["{"x" * 4000}"],{{}}]') for _ in range(1000)])
    assert [len(claims) for claims in claims_until_empty(broker, 600)] == [600, 400]


@pytest.mark.parametrize("text", ["x", '\\"', "é", "話", "🙂"])
def test_texts_come_back_as_they_went(broker: Broker, text: str) -> None:
    payloads = [f'[["{text * times}"],{{}}]' for times in (1, 3000, 250_000)]
    broker.send([job(payload=payload) for payload in payloads])
    for payload in payloads:
        broker.send([job(payload=payload)])
    claims = [claim for claims in claims_until_empty(broker) for claim in claims]
    assert [claim.job.payload for claim in claims] == payloads * 2
    values = [f'"{text * times}"' for times in (1, 3000, 250_000)] * 2
    outcomes = [Succeeded(claim, 0.0, 0.0, value) for claim, value in zip(claims, values, strict=True)]
    assert broker.settle(outcomes, "w1") == outcomes
    stored = {str(row.id): (row.payload, row.return_value) for row in JobResult.objects.all()}
    assert stored == {o.claim.job.id: (o.claim.job.payload, o.value) for o in outcomes}


def test_large_jobs_are_sent_all_or_none(broker: Broker) -> None:
    jobs = [job(payload=LARGE) for _ in range(12)]
    with transaction.atomic():
        broker.send(jobs)
        assert QueuedJob.objects.count() == 12
        transaction.set_rollback(True)
    assert not QueuedJob.objects.exists()
    with pytest.raises(IntegrityError):
        broker.send([*jobs, jobs[0]])  # the last one is refused: its id is there
    assert not QueuedJob.objects.exists()


def test_what_a_caller_goes_on_with_has_none_of_a_refused_batch(broker: Broker) -> None:
    jobs = [job(payload=LARGE) for _ in range(12)]
    with transaction.atomic():
        broker.send([job()])
        if connection.vendor == "postgresql":
            return  # there a failed statement ends the transaction
        with pytest.raises(IntegrityError):
            broker.send([*jobs, jobs[0]])
    assert QueuedJob.objects.count() == 1


@pytest.mark.skipif(connection.vendor != "mysql", reason="a limit of MariaDB and MySQL")
@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_no_packet_holds_is_refused_at_the_caller(broker: Broker, count: int) -> None:
    huge = job(payload=f'[["{"x" * 17 * MIB}"],{{}}]')
    with pytest.raises(BrokerError, match=r"max_allowed_packet .* pass a key"):
        broker.send([huge, job()][:count])
    assert not QueuedJob.objects.exists()
    broker.send([job()])


def test_who_rescues_reads_no_arguments(broker: Broker) -> None:
    send_large(broker, 60)
    held = [claim for claims in claims_until_empty(broker) for claim in claims]
    with little_memory(5):
        (mine,) = broker.orphans("heir", "w1").values()
        (orphans,) = broker.orphans("heir").values()
    assert len(mine) == len(orphans) == 60
    failure = Failure("builtins.ValueError", "no", "")
    with little_memory(5):
        counted = broker.settle([Failed(claim, 0.0, 0.0, failure) for claim, _ in mine], "w1")
    assert {outcome.claim.job.id for outcome in counted} == {claim.job.id for claim in held}
    assert set(JobResult.objects.values_list("payload", flat=True)) == {LARGE}


def test_to_ask_what_was_settled_reads_no_texts(broker: Broker) -> None:
    send_large(broker, 30)
    outcomes = [Succeeded(c, 0.0, 0.0, f'"{"y" * MIB}"') for claims in claims_until_empty(broker) for c in claims]
    for outcome in outcomes:
        broker.settle([outcome], "w1")
    again = [Succeeded(o.claim, 0.0, 0.0, "1") for o in outcomes]
    with little_memory(5):
        assert broker.settle(again, "w1", {o.claim.job.id for o in outcomes}) == again


def test_many_large_jobs_are_cancelled_and_retried_with_little_memory(broker: Broker) -> None:
    ids = {each.id for _ in range(3) for each in send_large(broker, 10)}
    with little_memory(25):
        assert control.cancel(ids, broker).ended == ids
    assert JobResult.objects.filter(status=State.CANCELLED, payload=LARGE).count() == 30
    with little_memory(25):
        assert control.retry(ids, broker) == ids
    assert QueuedJob.objects.filter(payload=LARGE).count() == 30


@pytest.mark.parametrize("how", ["prune", "purge"])
def test_what_is_removed_is_not_read_though_a_project_hears_every_deletion(broker: Broker, how: str) -> None:
    long_ago = pruning.first_id(1_500_000_000).int
    ids = [str(UUID(int=long_ago + number)) for number in range(60)]
    for start in range(0, 60, 10):
        broker.send([job(id=id_, payload=LARGE) for id_ in ids[start : start + 10]])
    if how == "prune":
        control.cancel(ids, broker)
        JobResult.objects.update(finished_at=timezone.now() - timedelta(days=1000))

    def hear(**_: object) -> None: ...

    pre_delete.connect(hear)
    try:
        with little_memory(5):
            assert (pruning.prune_all("default") if how == "prune" else control.purge("default", broker)) == 60
    finally:
        pre_delete.disconnect(hear)


@pytest.mark.parametrize(
    ("weights", "groups"),
    [
        ([], []),
        ([0, 0, 0], [3]),
        ([HEAVIEST, 0, 1], [2, 1]),
        ([HEAVIEST + 1, HEAVIEST + 1], [1, 1]),
        ([1, HEAVIEST, HEAVIEST // 2, HEAVIEST // 2, 1], [1, 1, 2, 1]),
    ],
)
def test_a_group_weighs_no_more_than_the_bound_or_is_one(weights: list[int], groups: list[int]) -> None:
    found = list(cut(range(len(weights)), weights))
    assert [len(group) for group in found] == groups
    assert [position for group in found for position in group] == list(range(len(weights)))

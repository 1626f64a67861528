"""A process that ends gives back what still runs, and a run may come to its end just then: one of the two counts."""

from __future__ import annotations

import pytest

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.messages.broker import MessageBroker
from taskq_django.brokers.messages.memory import MemoryTransport
from taskq_django.jobs import Claim, Released, Succeeded
from taskq_django.models import JobResult, QueuedJob
from tests.support.holding import finishing, holding
from tests.support.messages import register
from tests.support.sending import job

pytestmark = pytest.mark.django_db

ME = "w1"


@pytest.mark.parametrize("has_outbox", [False, True], ids=["", "outbox"])
@pytest.mark.parametrize("group", [1, 10])
@pytest.mark.parametrize("is_late", [False, True], ids=["before", "after"])
def test_of_a_run_that_ends_as_it_is_given_back_the_first_word_counts(
    is_late: bool, group: int, has_outbox: bool
) -> None:
    engine = MemoryTransport()
    broker = MessageBroker("default", DatabaseBroker("default"), engine, has_outbox=has_outbox)
    engine.publish([job()], 1.0)
    register(ME)
    engine.join(ME)
    (claim,) = broker.claim(["default"], 1, ME)
    finisher, held = finishing(broker), holding([claim])

    if not is_late:
        finisher.take(Succeeded(claim, 0.0, 0.0, "1"))
    assert len(finisher.insist([Released(claim, began=True)])) == is_late
    if is_late:
        finisher.take(Succeeded(claim, 0.0, 0.0, "1"))
    while finisher.inbox:
        finisher.flush(held, group)

    assert JobResult.objects.count() == (not is_late)
    assert list(QueuedJob.objects.values_list("status", "attempts")) == [("READY", 1)] * is_late
    assert (held, finisher.stale) == ({}, 0)


def test_what_is_not_settled_can_be_read_while_more_comes_in() -> None:
    finisher = finishing(DatabaseBroker("default"))
    first, second = (Succeeded(Claim(job(), "", 0.0), 0.0, 0.0, None) for _ in range(2))
    finisher.take(first)
    pending = iter(finisher.pending())
    finisher.take(second)
    assert list(pending) == [first]

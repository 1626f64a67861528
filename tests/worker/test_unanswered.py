"""A COMMIT that nobody answers: the database knows, and is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError

from taskq_django.brokers.base import Broker
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.jobs import Discarded, Failed, Failure, Outcome, Released, Retried, Succeeded
from taskq_django.models import JobResult, QueuedJob
from taskq_django.states import State
from tests.app import tasks
from tests.support.holding import answers_again, finishing, holding

pytestmark = pytest.mark.django_db(transaction=True)

FAILURE = Failure("builtins.ValueError", "no", "")


@pytest.fixture
def broker() -> Broker:
    return task_backends["default"].broker  # type: ignore[attr-defined,no-any-return]


def unanswered(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> None:
    """The next call of this method of the broker does its work, and its answer is lost."""
    real: Callable[..., Any] = getattr(DatabaseBroker, method)

    def lost(self: DatabaseBroker, *args: Any) -> Any:
        monkeypatch.setattr(DatabaseBroker, method, real)
        real(self, *args)
        self.connection.close()
        raise error

    monkeypatch.setattr(DatabaseBroker, method, lost)


@pytest.mark.parametrize("count", [1, 3])
def test_an_enqueue_whose_answer_is_lost_is_made_once(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    unanswered(monkeypatch, "_insert", OperationalError("server closed the connection unexpectedly"))
    results = tasks.add.enqueue_many([(n,) for n in range(count)])
    assert QueuedJob.objects.count() == count
    assert {result.state for result in results} == {State.READY}


@pytest.mark.parametrize(
    "ended",
    [
        lambda claim: Succeeded(claim, 0.0, 0.0, "3"),
        lambda claim: Succeeded(claim, 0.0, 0.0, None),
        lambda claim: Failed(claim, 0.0, 0.0, FAILURE),
        lambda claim: Retried(claim, 0.0, 0.0, FAILURE, 60.0),
        lambda claim: Discarded(claim, 0.0, 0.0, State.CANCELLED, "no"),
        lambda claim: Released(claim, began=False),
        lambda claim: Released(claim, began=True),
    ],
    ids=["success", "success not kept", "failure", "retry", "discard", "return", "cut off"],
)
def test_a_settle_whose_answer_is_lost_counts_once(
    monkeypatch: pytest.MonkeyPatch, broker: Broker, ended: Callable[..., Outcome]
) -> None:
    tasks.add.enqueue(1)
    (claim,) = broker.claim(["default"], 1, "w1")
    finisher, held = finishing(broker), holding([claim])
    finisher.inbox.append(ended(claim))
    unanswered(monkeypatch, "settle", BrokerUnavailable("gone"))

    finisher.flush(held, 10)
    assert (list(held), finisher.aside) == ([claim.job.id], 1)
    answers_again(finisher)
    assert finisher.flush(held, 10)

    assert (held, finisher.stale) == ({}, 0)
    assert JobResult.objects.count() + QueuedJob.objects.count() <= 1


def test_what_another_worker_has_taken_over_is_not_taken_for_settled(
    monkeypatch: pytest.MonkeyPatch, broker: Broker
) -> None:
    tasks.add.enqueue(1)
    (claim,) = broker.claim(["default"], 1, "w1")
    finisher, held = finishing(broker), holding([claim])
    finisher.inbox.append(Succeeded(claim, 0.0, 0.0, "3"))
    monkeypatch.setattr(DatabaseBroker, "settle", lambda *_: (_ for _ in ()).throw(BrokerUnavailable("gone")))
    finisher.flush(held, 10)
    monkeypatch.undo()
    QueuedJob.objects.update(status=State.RUNNING, token=uuid4(), attempts=2, worker_id="w2")

    answers_again(finisher)
    assert finisher.flush(held, 10)

    assert (held, finisher.stale) == ({}, 1)

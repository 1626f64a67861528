"""An id that a hand has put among the jobs and among the results too: nothing waits for it, and nothing ends by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from taskq_django import control
from taskq_django.brokers import Broker
from taskq_django.compat import task_backends
from taskq_django.handles import read_results
from taskq_django.jobs import Claim, Discarded, Failed, Failure, Outcome, Released, Retried, Succeeded
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.store import pruning
from taskq_django.store.limits import Limits, limit_transactions
from taskq_django.store.weights import LIGHT
from taskq_django.testing import run_all
from taskq_django.worker.rescue import Death, rescue
from tests.app import tasks

pytestmark = pytest.mark.django_db(transaction=True)

FAILURE = Failure("builtins.ValueError", "new", "")
LARGE = f'"{"x" * 2 * LIGHT}"'


@pytest.fixture
def broker() -> Broker:
    return task_backends["default"].broker  # type: ignore[attr-defined,no-any-return]


def in_both(attempts: int = 0) -> str:
    """A job that waits, beside another one, with a result of so many attempts."""
    sent, _ = tasks.add.enqueue_many([(1,), (2,)])
    JobResult.objects.create(
        id=sent.id,
        task_path="tests.app.tasks.add",
        backend="default",
        queue_name="default",
        priority=0,
        status="FAILED",
        enqueued_at=sent.enqueued_at,
        finished_at=sent.enqueued_at,
        payload="[[1],{}]",
        message="old",
        attempts=attempts,
    )
    return sent.id


def failed_once(id_: str) -> None:
    moment = timezone.now()
    JobAttempt.objects.create(
        job_id=id_, number=1, worker_id="w0", started_at=moment, finished_at=moment, exception_class="x", message="old"
    )


@pytest.mark.parametrize(
    "end",
    [
        lambda claim: Succeeded(claim, 0.0, 0.0, "3"),
        lambda claim: Succeeded(claim, 0.0, 0.0, LARGE),
        lambda claim: Failed(claim, 0.0, 0.0, FAILURE),
        lambda claim: Discarded(claim, 0.0, 0.0, State.CANCELLED, "new"),
    ],
    ids=["success", "large success", "failure", "discard"],
)
@pytest.mark.parametrize("attempts", [0, 1, 7])
def test_a_job_that_has_a_result_ends_and_the_story_of_more_attempts_is_kept(
    broker: Broker, end: Callable[[Claim], Outcome], attempts: int
) -> None:
    id_ = in_both(attempts)
    claims = broker.claim(["default"], 10, "w1")
    outcomes = [end(claim) for claim in claims]

    assert broker.settle(outcomes, "w1") == outcomes

    assert not QueuedJob.objects.exists()
    row = JobResult.objects.get(id=id_)
    assert (row.message == "old", row.attempts) == (attempts > 0, max(attempts, 1))
    assert row.return_value == (None if attempts else getattr(outcomes[0], "value", None))
    assert JobResult.objects.exclude(id=id_).get().attempts == 1


@pytest.mark.parametrize(
    "back", [lambda claim: Retried(claim, 0.0, 0.0, FAILURE, 0.0), lambda claim: Released(claim, True)]
)
def test_a_job_that_has_a_result_goes_back_and_runs_again(broker: Broker, back: Callable[[Claim], Outcome]) -> None:
    id_ = in_both()
    outcomes = [back(claim) for claim in broker.claim(["default"], 10, "w1")]
    assert broker.settle(outcomes, "w1") == outcomes

    assert run_all() == 2

    assert read_results([id_], broker)[id_].get() == 3
    assert not QueuedJob.objects.exists()


def test_a_service_whose_locks_have_limits_ends_it_too(broker: Broker) -> None:
    id_ = in_both()
    outcomes = [Succeeded(claim, 0.0, 0.0, "3") for claim in broker.claim(["default"], 10, "w1")]
    limit_transactions(["default"], Limits(idle=10.0, wait=5.0))
    try:
        assert broker.settle(outcomes, "w1") == outcomes
    finally:
        limit_transactions([], None)
    assert read_results([id_], broker)[id_].get() == 3


def test_what_was_begun_most_often_is_read(broker: Broker) -> None:
    id_ = in_both()
    assert read_results([id_], broker)[id_].state is State.FAILED  # as often as its result
    broker.claim(["default"], 10, "w1")
    assert read_results([id_], broker)[id_].state is State.RUNNING


def test_an_attempt_that_was_reported_before_is_reported_anew(broker: Broker) -> None:
    id_ = in_both()
    failed_once(id_)
    outcomes = [Failed(claim, 0.0, 0.0, FAILURE) for claim in broker.claim(["default"], 10, "w1")]

    assert broker.settle(outcomes, "w1") == outcomes

    assert JobAttempt.objects.get(job_id=id_).message == "new"
    assert [error.exception_class_path for error in read_results([id_], broker)[id_].errors] == ["builtins.ValueError"]


@pytest.mark.parametrize("attempts", [0, 7])
@pytest.mark.parametrize("deadly", [False, True], ids=["once", "again and again"])
def test_a_dead_process_that_held_it_is_rescued(broker: Broker, attempts: int, deadly: bool) -> None:
    id_ = in_both(attempts)
    if deadly:
        QueuedJob.objects.update(crashes=5)
    held = {claim.job.id for claim in broker.claim(["default"], 10, "w1")}

    assert rescue(broker, "w1", Death(cause="signal SIGKILL", begun=held), "heir") == 2

    if deadly:
        assert not QueuedJob.objects.exists()
        assert JobResult.objects.get(id=id_).attempts == max(attempts, 1)
    else:
        assert run_all() == 2


@pytest.mark.parametrize("attempts", [0, 7])
def test_it_is_cancelled_while_it_waits_and_retried(broker: Broker, attempts: int) -> None:
    id_ = in_both(attempts)
    QueuedJob.objects.filter(id=id_).update(attempts=3)

    assert control.cancel([id_], broker, reason="no more").ended == {id_}

    row = JobResult.objects.get()
    assert (row.status, row.message, row.attempts) == (
        ("FAILED", "old", 7) if attempts else ("CANCELLED", "no more", 3)
    )
    assert QueuedJob.objects.count() == 1
    assert control.retry([id_], broker) == {id_}
    assert run_all() == 2


def test_a_retry_lets_the_job_that_waits_run(broker: Broker) -> None:
    id_ = in_both(7)
    assert control.retry([id_], broker) == {id_}
    assert run_all() == 2
    assert read_results([id_], broker)[id_].get() == 3


def test_its_result_is_removed_when_it_is_old_and_the_attempts_of_the_live_job_stay(broker: Broker) -> None:
    id_ = in_both()
    moved, other = str(pruning.first_id(1_500_000_000)), str(pruning.first_id(1_500_000_001))
    for model in (QueuedJob, JobResult):
        model._default_manager.filter(id=id_).update(id=moved)
    ended = JobResult.objects.get()
    ended.pk = other
    ended.save(force_insert=True)
    JobResult.objects.update(finished_at=timezone.now() - timedelta(days=1000))
    for job_id in (moved, other):
        failed_once(job_id)
    QueuedJob.objects.filter(id=moved).update(attempts=1)

    with CaptureQueriesContext(connection) as queries:
        assert pruning.prune_all("default") == 2

    assert sum(query["sql"].startswith("DELETE") for query in queries) == 3  # one for each table
    assert QueuedJob.objects.filter(id=moved).exists()
    assert run_all() == 2
    result = read_results([moved], broker)[moved]
    assert (result.get(), len(result.errors), result.worker_ids[0]) == (3, 1, "w0")
    assert not JobAttempt.objects.filter(job_id=other).exists()

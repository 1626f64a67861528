"""The database broker's own: the rows that it writes, and whose transaction they are part of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import DatabaseError, connection, transaction

from taskq_django.brokers import Broker, broker_for
from taskq_django.conf import BackendOptions
from taskq_django.exceptions import OutcomeRefused
from taskq_django.jobs import Discarded, Failed, Retried, Succeeded
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.worker.finisher import settle
from tests.support.sending import FAILURE, job

pytestmark = pytest.mark.django_db(transaction=True)

ME = "worker-1"


@pytest.fixture
def broker() -> Broker:
    return broker_for("default", BackendOptions())


def test_a_batch_is_sent_whole_or_not_at_all(broker: Broker) -> None:
    first, second = job(), job()
    with pytest.raises(DatabaseError):
        broker.send([first, second, first])
    assert not QueuedJob.objects.exists()


def test_jobs_join_the_callers_transaction(broker: Broker) -> None:
    def undone() -> None:
        with transaction.atomic():
            broker.send([job()])
            broker.send([job(), job()])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undone()
    assert not QueuedJob.objects.exists()


def test_a_claim_marks_its_row(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = broker.claim(["default"], 1, ME)
    row = QueuedJob.objects.get()
    assert (row.status, row.worker_id, row.attempts, row.token and row.token.hex) == ("RUNNING", ME, 1, claim.receipt)


def test_a_success_moves_to_the_results(broker: Broker) -> None:
    sent = job(headers='{"metadata":{"a":1}}', priority=7)
    moment = broker.send([sent])
    (claim,) = broker.claim(["default"], 1, ME)

    broker.settle([Succeeded(claim, 0.0, 1.5, "3")], ME)

    assert not QueuedJob.objects.exists()
    row = JobResult.objects.get()
    assert (str(row.id), row.status, row.return_value, row.priority, row.worker_id) == (
        sent.id,
        "SUCCESSFUL",
        "3",
        7,
        ME,
    )
    assert (row.payload, row.headers, row.attempts, row.tries) == (sent.payload, sent.headers, 1, 0)
    assert (row.enqueued_at, row.started_at) == (moment, row.last_attempted_at)


def test_a_job_that_keeps_no_result_leaves_no_row(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = broker.claim(["default"], 1, ME)
    broker.settle([Succeeded(claim, 0, 1, None)], ME)
    assert not QueuedJob.objects.exists()
    assert not JobResult.objects.exists()


def test_a_failure_keeps_its_attempt_in_a_row(broker: Broker) -> None:
    sent = job()
    broker.send([sent])
    (claim,) = broker.claim(["default"], 1, ME)
    broker.settle([Failed(claim, 0, 1, FAILURE)], ME)
    row, attempt = JobResult.objects.get(), JobAttempt.objects.get()
    assert (row.status, row.exception_class, row.message, row.tries) == ("FAILED", "builtins.ValueError", "no", 1)
    assert (str(attempt.job_id), attempt.number, attempt.worker_id, attempt.traceback) == (
        sent.id,
        1,
        ME,
        FAILURE.traceback,
    )


def test_a_discarded_job_has_no_value(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = broker.claim(["default"], 1, ME)
    broker.settle([Discarded(claim, 0, 0, State.CANCELLED, "not today")], ME)
    row = JobResult.objects.get()
    assert (row.status, row.message, row.return_value) == ("CANCELLED", "not today", None)


def test_a_retry_gives_up_its_token_and_counts(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = broker.claim(["default"], 1, ME)
    broker.settle([Retried(claim, 0, 1, FAILURE, 3600.0)], ME)
    row = QueuedJob.objects.get()
    assert (row.status, row.tries, row.attempts, row.token, row.worker_id) == ("SCHEDULED", 1, 1, None, None)
    assert JobAttempt.objects.count() == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others take, or cut, a text that is too long")
def test_a_group_of_which_the_database_refuses_one_is_not_written(broker: Broker) -> None:
    broker.send([job(), job(), job()])
    one, two, three = broker.claim(["default"], 3, ME)
    outcomes = [
        Succeeded(one, 0, 1, "1"),
        Failed(two, 0, 1, replace(FAILURE, exception_class="x" * 300)),
        Succeeded(three, 0, 1, "3"),
    ]

    with pytest.raises(OutcomeRefused, match="one of these"):
        broker.settle(outcomes, ME)

    assert not JobResult.objects.exists()
    assert [o.claim.job.id for o in settle(broker, outcomes, ME)] == [claim.job.id for claim in (one, two, three)]
    assert "refuses what came of this job" in JobResult.objects.get(status="FAILED").message

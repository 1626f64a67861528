"""A row stands in for a message until the engine has confirmed it, and never runs beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.database.outbox import Outbox
from taskq_django.exceptions import BrokerError
from taskq_django.jobs import Claim, Failure, Job, Released, Retried, Succeeded
from taskq_django.models import JobResult, QueuedJob
from taskq_django.worker.maintenance import GONE
from taskq_django.worker.rescue import Death, rescue, settle_dead
from tests.support.messages import AUTHOR, HOLDER, register, success
from tests.support.sending import FAILURE, job

pytestmark = pytest.mark.django_db

SENDER, OTHER = str(uuid4()), str(uuid4())
ME = "worker-1"


@pytest.fixture
def rows() -> DatabaseBroker:
    return DatabaseBroker("default")


@pytest.fixture
def outbox(rows: DatabaseBroker) -> Outbox:
    return Outbox(rows)


def seconds_to(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()


def is_due_in_ten_seconds(sent: Claim | Job, since: datetime) -> bool:
    """Counted from then on, or a little later."""
    due = row_of(sent).available_at
    return (due - since).total_seconds() > 9 and seconds_to(due) < 11


def standing_in(outbox: Outbox, count: int = 1, **changes: Any) -> list[Job]:
    jobs = [job(**changes) for _ in range(count)]
    outbox.stand_in(jobs, SENDER)
    return jobs


def make_due() -> None:
    QueuedJob.objects.update(status="READY")


def claimed(outbox: Outbox, rows: DatabaseBroker, count: int = 1) -> list[Claim]:
    standing_in(outbox, count)
    make_due()
    return rows.claim(["default"], count, ME)


def row_of(claimed_or_sent: Claim | Job) -> QueuedJob:
    sent = claimed_or_sent.job if isinstance(claimed_or_sent, Claim) else claimed_or_sent
    return QueuedJob.objects.get(id=sent.id)


# --- the sender -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_a_row_that_stands_in_is_the_job_and_due_in_ten_seconds(outbox: Outbox, count: int) -> None:
    jobs = [job(priority=n, headers='{"ä":1}', expires_us=60_000_000, tries=2, payload='["ä"]') for n in range(count)]
    moment = outbox.stand_in(jobs, SENDER)

    assert abs(seconds_to(moment)) < 60
    for sent in jobs:
        row = row_of(sent)
        assert (row.status, str(row.sender), row.rank) == ("SCHEDULED", SENDER, -sent.priority)
        assert (row.task_path, row.payload, row.headers) == (sent.task_path, sent.payload, sent.headers)
        assert (row.tries, row.attempts, row.crashes, row.losses, row.run_after) == (2, 0, 0, 0, None)
        assert row.enqueued_at == moment
        assert 9.9 < (row.available_at - row.enqueued_at).total_seconds() < 10.1
        assert row.expires_at is not None
        assert 59.9 < (row.expires_at - row.enqueued_at).total_seconds() < 60.1


def test_large_ones_come_in_groups_and_whole(outbox: Outbox) -> None:
    large = '"' + "ä'" * 100_000 + '"'
    jobs = standing_in(outbox, 30, payload=large)
    assert all(row.payload == large and str(row.sender) == SENDER for row in QueuedJob.objects.all())
    assert QueuedJob.objects.count() == len(jobs)


def test_what_the_store_does_not_take_is_an_error_of_the_caller(outbox: Outbox) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("its tests of other refusals are those of send")
    with pytest.raises(BrokerError, match="refuses this job"), transaction.atomic():
        standing_in(outbox, payload="\0")


def test_it_goes_with_the_transaction(outbox: Outbox) -> None:
    with transaction.atomic():
        standing_in(outbox)
        transaction.set_rollback(True)
    assert not QueuedJob.objects.exists()


def test_a_renewal_tells_which_are_still_waiting_for_their_publish(outbox: Outbox, rows: DatabaseBroker) -> None:
    waits, ready, runs, ended, made_ordinary, others = jobs = standing_in(outbox, 6)
    QueuedJob.objects.filter(id__in=[ready.id, runs.id, ended.id]).update(
        status="READY", available_at=datetime.now(UTC)
    )
    claims = {claim.job.id: claim for claim in rows.claim(["default"], 3, ME)}
    rows.settle([Succeeded(claims[ended.id], 0, 1, "1"), Released(claims[ready.id], began=False)], ME)
    outbox.surely_not_sent([made_ordinary.id], SENDER)
    QueuedJob.objects.filter(id=others.id).update(sender=OTHER)

    began = datetime.now(UTC)
    assert outbox.renew([each.id for each in jobs], SENDER) == {waits.id, ready.id}

    for each in (waits, ready):
        assert row_of(each).status == "SCHEDULED"
        assert is_due_in_ten_seconds(each, began)
    assert row_of(runs).status == "RUNNING"


def test_what_is_confirmed_leaves_the_store_unless_it_runs(outbox: Outbox, rows: DatabaseBroker) -> None:
    (runs,) = claimed(outbox, rows)
    (waits,) = standing_in(outbox)
    (others,) = standing_in(outbox)
    QueuedJob.objects.filter(id=others.id).update(sender=OTHER)

    assert outbox.confirmed([runs.job.id, waits.id, others.id], SENDER) == {waits.id}

    assert {str(row.id) for row in QueuedJob.objects.all()} == {runs.job.id, others.id}


def test_what_was_surely_not_sent_is_a_job_as_any_other_at_once(outbox: Outbox, rows: DatabaseBroker) -> None:
    (sent,) = standing_in(outbox)

    assert outbox.surely_not_sent([sent.id], SENDER) == {sent.id}

    (claim,) = rows.claim(["default"], 1, ME)
    assert outbox.doubtful([claim]) == set()
    assert outbox.confirmed([sent.id], SENDER) == set()


def test_the_ids_of_rows_that_stand_in_are_told(outbox: Outbox, rows: DatabaseBroker) -> None:
    (stands_in,), ordinary = standing_in(outbox), job()
    rows.send([ordinary])
    assert outbox.standing_in([stands_in.id, ordinary.id]) == {stands_in.id}


# --- who claims -----------------------------------------------------------------------------------------------------


def test_a_claim_keeps_the_sender(outbox: Outbox, rows: DatabaseBroker) -> None:
    (claim,) = claimed(outbox, rows)
    rows.send([job()])
    (ordinary,) = rows.claim(["default"], 1, ME)
    assert outbox.doubtful([claim, ordinary]) == {claim.job.id}


def test_a_row_is_mine_no_more_when_its_message_has_taken_it_or_ended(outbox: Outbox, rows: DatabaseBroker) -> None:
    register(HOLDER)
    mine, taken, ended, given_back = claims = claimed(outbox, rows, 4)
    as_message = [claim._replace(receipt=f"@{HOLDER}") for claim in claims]
    assert rows.record([Retried(as_message[1], 0, 1, FAILURE, 0.0)], HOLDER, AUTHOR, sweep=True)
    assert rows.record([success(as_message[2])], HOLDER, AUTHOR)  # by one that sweeps nothing
    rows.settle([Released(given_back, began=False)], ME)

    assert outbox.still_mine(claims) == {mine.job.id}
    assert outbox.doubtful(claims) == {claim.job.id for claim in claims}

    assert outbox.forget([taken, ended, given_back]) == 1
    assert {str(row.id) for row in QueuedJob.objects.all()} == {claims[n].job.id for n in (0, 1, 3)}


def test_what_nobody_can_say_waits_un_run(outbox: Outbox, rows: DatabaseBroker) -> None:
    claim, other = claimed(outbox, rows, 2)
    rows.settle([Released(other, began=False)], ME)

    began = datetime.now(UTC)
    assert outbox.postpone([claim, other], 10.0) == 1

    row = row_of(claim)
    assert (row.status, row.attempts, str(row.sender)) == ("SCHEDULED", 0, SENDER)
    assert (row.token, row.worker_id, row.claimed_at) == (None,) * 3
    assert is_due_in_ten_seconds(claim, began)


def test_nothing_asks_nothing(outbox: Outbox) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert outbox.doubtful([]) == outbox.still_mine([]) == set()
        assert outbox.postpone([], 1) == outbox.forget([]) == 0
    assert not asked.captured_queries


# --- ends and deaths ------------------------------------------------------------------------------------------------

BACK = {
    "un-run": (lambda claim: Released(claim, began=False), True),
    "cut off": (lambda claim: Released(claim, began=True), False),
    "retry": (lambda claim: Retried(claim, 0, 1, FAILURE, 0.0), False),
    "retry, later": (lambda claim: Retried(claim, 0, 1, FAILURE, 9.0), False),
    "crash": (lambda claim: Retried(claim, 0, 1, FAILURE, 0.0, "crashes"), False),
    "loss": (lambda claim: Retried(claim, 0, 1, Failure("x", "", ""), 0.0, "losses"), True),
}


@pytest.mark.parametrize("how", BACK)
def test_what_has_begun_from_the_row_is_its_own_from_then_on(outbox: Outbox, rows: DatabaseBroker, how: str) -> None:
    back, stands_in = BACK[how]
    (claim,) = claimed(outbox, rows)

    rows.settle([back(claim)], ME)

    assert outbox.standing_in([claim.job.id]) == ({claim.job.id} if stands_in else set())


@pytest.mark.parametrize(
    ("death", "stands_in"), [("not begun", True), ("begun", False), ("lost host", True), ("unanswered", True)]
)
def test_a_death_keeps_the_sender_unless_the_row_has_surely_begun(
    outbox: Outbox, rows: DatabaseBroker, death: str, stands_in: bool
) -> None:
    (claim,) = claimed(outbox, rows)
    match death:
        case "lost host":
            for worker, held in rows.orphans(HOLDER).items():
                settle_dead(rows, worker, held, GONE)
        case "unanswered":
            rows.release_unanswered(ME, [])
        case _:
            rescue(rows, ME, Death(cause="signal SIGKILL", begun={claim.job.id} if death == "begun" else ()), HOLDER)

    assert row_of(claim).status == "READY"
    assert outbox.standing_in([claim.job.id]) == ({claim.job.id} if stands_in else set())


def test_its_end_ends_it(outbox: Outbox, rows: DatabaseBroker) -> None:
    (claim,) = claimed(outbox, rows)
    assert rows.settle([Succeeded(claim, 0, 1, "1")], ME)
    assert JobResult.objects.count() == 1
    assert outbox.renew([claim.job.id], SENDER) == set()

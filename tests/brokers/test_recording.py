"""What came of messages is written once, and only while nobody counts their holder as dead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskq_django.brokers import broker_for
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.conf import BackendOptions
from taskq_django.exceptions import OutcomeRefused
from taskq_django.jobs import Claim, Discarded, Failed, Outcome, Released, Succeeded
from taskq_django.models import CancelWish, JobAttempt, JobResult, QueuedJob
from taskq_django.models.moments import DatabaseNow
from taskq_django.states import State
from taskq_django.store import weights
from taskq_django.store.ends import written
from tests.support.messages import AUTHOR, ENQUEUED, HOLDER, failure, message, register, retry, success
from tests.support.sending import FAILURE

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> DatabaseBroker:
    broker = broker_for("default", BackendOptions())
    assert isinstance(broker, DatabaseBroker)
    return broker


@pytest.fixture(autouse=True)
def _holder() -> None:
    register(HOLDER)


def seconds_ago(moment: datetime | None) -> float:
    assert moment is not None
    return (datetime.now(UTC) - moment).total_seconds()


def written_rows() -> tuple[int, int, int]:
    return JobResult.objects.count(), JobAttempt.objects.count(), QueuedJob.objects.count()


def test_a_result_has_all_that_is_known_of_the_job(rows: DatabaseBroker) -> None:
    claim = message(priority=7, headers='{"a":1}', payload='[["ä"],{}]')

    assert rows.record([success(claim, '{"n":"ä"}')], HOLDER, AUTHOR)

    result = JobResult.objects.get()
    told = (result.task_path, result.backend, result.queue_name, result.priority, result.headers, result.payload)
    sent = claim.job
    assert told == (sent.task_path, sent.backend, sent.queue_name, 7, '{"a":1}', '[["ä"],{}]')
    assert (str(result.id), result.status, result.worker_id) == (sent.id, State.SUCCESSFUL, AUTHOR)
    assert (result.return_value, result.tries, result.attempts, result.crashes) == ('{"n":"ä"}', 0, 1, 0)
    assert result.enqueued_at.timestamp() == ENQUEUED
    assert result.run_after is None
    assert result.started_at == result.last_attempted_at
    assert 2 <= seconds_ago(result.started_at) < 60
    assert 1 <= seconds_ago(result.finished_at) < seconds_ago(result.started_at)


def test_each_end_is_told_as_it_was(rows: DatabaseBroker) -> None:
    failed, crashed, discarded, silent = message(), message(), message(), message()
    discard = Discarded(discarded, monotonic(), monotonic(), State.CANCELLED, "no more")
    crash = Failed(crashed, monotonic(), monotonic(), FAILURE, "crashes")

    assert rows.record([failure(failed), crash, discard, success(silent, None)], HOLDER, AUTHOR)

    results = {str(row.id): row for row in JobResult.objects.all()}
    told = {id_: (row.status, row.tries, row.crashes, row.exception_class, row.message) for id_, row in results.items()}
    assert told == {
        failed.job.id: ("FAILED", 1, 0, "builtins.ValueError", "no"),
        crashed.job.id: ("FAILED", 0, 1, "builtins.ValueError", "no"),
        discarded.job.id: ("CANCELLED", 0, 0, "", "no more"),
    }
    attempts = JobAttempt.objects.values_list("job_id", "number", "worker_id", "traceback")
    assert {(str(id_), *rest) for id_, *rest in attempts} == {
        (id_, 1, AUTHOR, FAILURE.traceback) for id_ in (failed.job.id, crashed.job.id)
    }
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize("delay", [0.0, 60.0])
def test_a_retry_becomes_a_row_that_runs(rows: DatabaseBroker, delay: float) -> None:
    claim = message(priority=3, headers='{"a":1}', expires_us=1)

    assert rows.record([retry(claim, delay)], HOLDER, AUTHOR)

    row = QueuedJob.objects.get()
    assert (str(row.id), row.status, row.rank) == (claim.job.id, "SCHEDULED" if delay else "READY", -3)
    assert (row.tries, row.attempts, row.crashes, row.losses) == (1, 1, 0, 0)
    assert (row.token, row.worker_id, row.sender, row.run_after, row.claimed_at) == (None,) * 5
    assert row.enqueued_at.timestamp() == ENQUEUED
    assert 2 <= seconds_ago(row.started_at) < 60
    assert -60 <= seconds_ago(row.available_at) - (-delay) < 60
    assert JobAttempt.objects.get().number == 1
    QueuedJob.objects.update(status="READY")
    (again,) = rows.claim(["default"], 1, HOLDER)
    assert (again.attempt, again.verdict, again.job.payload) == (2, "", claim.job.payload)


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (lambda claim: retry(claim, counts="crashes"), (0, 1, 1, 0)),
        (lambda claim: retry(claim, counts="losses"), (0, 1, 0, 1)),
        (lambda claim: Released(claim, began=True), (0, 1, 0, 0)),
    ],
    ids=["crash", "loss", "cut off"],
)
def test_what_was_cut_off_becomes_a_row_and_keeps_its_place(
    rows: DatabaseBroker, outcome: Callable[[Claim], Outcome], counted: tuple[int, ...]
) -> None:
    assert rows.record([outcome(message())], HOLDER, AUTHOR)

    row = QueuedJob.objects.get()
    assert (row.tries, row.attempts, row.crashes, row.losses) == counted
    assert (row.status, row.available_at.timestamp()) == ("READY", ENQUEUED)
    assert row.started_at is not None


# Of each state of the row: its status, attempts, whether it is held, whether it stands in for a message; and whether a
# retry of the first attempt takes it over.
STATES = {
    "stands in": ("SCHEDULED", 0, False, True, True),
    "stands in, promoted": ("READY", 0, False, True, True),
    "stands in, claimed and asking": ("RUNNING", 1, True, True, True),
    "stands in, lost with its host": ("READY", 1, False, True, True),
    "stands in, claimed again": ("RUNNING", 2, True, True, True),
    "made ordinary": ("READY", 0, False, False, True),
    "made ordinary, claimed": ("RUNNING", 1, True, False, False),
    "its own retry waits": ("READY", 1, False, False, False),
    "its own retry is delayed": ("SCHEDULED", 1, False, False, False),
    "its own retry runs": ("RUNNING", 2, True, False, False),
    "a later retry waits": ("SCHEDULED", 2, False, False, False),
}


def existing(claim: Claim, state: str) -> None:
    status, attempts, is_held, stands_in, _ = STATES[state]
    held = {"token": uuid4(), "worker_id": "another", "claimed_at": DatabaseNow(), "begun_at": DatabaseNow()}
    QueuedJob.objects.create(
        id=claim.job.id,
        task_path="the.old",
        backend="default",
        queue_name="default",
        status=status,
        rank=0,
        available_at=DatabaseNow(50),
        enqueued_at=DatabaseNow(),
        payload="old",
        attempts=attempts,
        sender=uuid4() if stands_in else None,
        **(held if is_held else {}),
    )


def snapshot() -> list[dict[str, Any]]:
    return list(QueuedJob.objects.order_by("id").values())


ENDS: dict[str, Callable[[Claim], Outcome]] = {
    "success": success,
    "success, not kept": lambda claim: success(claim, None),
    "failure": failure,
    "discard": lambda claim: Discarded(claim, monotonic(), monotonic(), State.CANCELLED, ""),
    "discard, unbegun": lambda claim: Discarded(claim, monotonic(), monotonic(), State.EXPIRED, "", began=False),
}
BACK: dict[str, Callable[[Claim], Outcome]] = {
    "retry": retry,
    "loss": lambda claim: retry(claim, counts="losses"),
    "cut off": lambda claim: Released(claim, began=True),
}


@pytest.mark.parametrize("sweep", [False, True], ids=["", "sweep"])
@pytest.mark.parametrize("back", BACK)
@pytest.mark.parametrize("state", STATES)
def test_what_is_tried_again_takes_over_a_row_that_is_earlier_and_no_other(
    rows: DatabaseBroker, state: str, back: str, sweep: bool
) -> None:
    claim, other = message(), message()
    existing(claim, state)
    before = snapshot()

    assert rows.record([BACK[back](claim), success(other)], HOLDER, AUTHOR, sweep=sweep)

    if not STATES[state][-1]:
        assert snapshot() == before
        return
    row = QueuedJob.objects.get()
    assert (row.status, row.attempts, row.payload, row.task_path) == (
        "READY",
        1,
        claim.job.payload,
        claim.job.task_path,
    )
    assert (row.token, row.worker_id, row.claimed_at, row.begun_at, row.sender) == (None,) * 5


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("state", STATES)
def test_what_ends_takes_a_row_along_that_is_earlier_and_no_other(rows: DatabaseBroker, state: str, end: str) -> None:
    claim = message()
    existing(claim, state)
    before = snapshot()

    assert rows.record([ENDS[end](claim), retry(message())], HOLDER, AUTHOR, sweep=True)

    left = [row for row in snapshot() if str(row["id"]) == claim.job.id]
    assert left == ([] if STATES[state][-1] else before)
    assert JobResult.objects.filter(id=claim.job.id).exists() == (end != "success, not kept")


def test_without_a_sweep_no_row_is_looked_for(rows: DatabaseBroker) -> None:
    claim = message()
    existing(claim, "stands in")
    with CaptureQueriesContext(connection) as asked:
        assert rows.record([success(claim)], HOLDER, AUTHOR)
    assert QueuedJob._meta.db_table not in "".join(query["sql"] for query in asked.captured_queries)
    assert QueuedJob.objects.count() == 1


@pytest.mark.parametrize("end", [*ENDS, *BACK])
def test_to_write_it_twice_is_to_write_it_once(rows: DatabaseBroker, end: str) -> None:
    """The answer was lost: the same again counts again, and changes nothing."""
    outcome = (ENDS | BACK)[end](message())
    assert rows.record([outcome], HOLDER, AUTHOR, sweep=True)
    told = (snapshot(), list(JobResult.objects.values("id", "status", "attempts")), JobAttempt.objects.count())

    assert rows.record([outcome], HOLDER, AUTHOR, sweep=True)

    assert (snapshot(), list(JobResult.objects.values("id", "status", "attempts")), JobAttempt.objects.count()) == told


@pytest.mark.parametrize("attempts", [0, 1, 2])
def test_of_several_results_the_one_of_more_attempts_is_kept(rows: DatabaseBroker, attempts: int) -> None:
    claim, other = message(), message()
    now = DatabaseNow()
    JobResult.objects.create(
        id=claim.job.id,
        task_path="t",
        backend="default",
        queue_name="q",
        priority=0,
        status="FAILED",
        enqueued_at=now,
        finished_at=now,
        payload="old",
        attempts=attempts,
    )

    assert rows.record([success(claim, '"x"'), success(other)], HOLDER, AUTHOR)

    result = JobResult.objects.get(id=claim.job.id)
    kept = ("FAILED", "old", None) if attempts else ("SUCCESSFUL", claim.job.payload, '"x"')
    assert (result.status, result.payload, result.return_value) == kept
    assert JobResult.objects.filter(id=other.job.id).exists()


def test_large_texts_arrive_whole(rows: DatabaseBroker) -> None:
    large = '"' + "ä'\\\\" * 20_000 + '"'
    kept, again = message(payload=large, headers='{"a":1}'), message(payload=large)

    for _ in range(2):
        assert rows.record([success(kept, large), retry(again)], HOLDER, AUTHOR)

        result = JobResult.objects.get()
        assert (result.payload, result.headers, result.return_value) == (large, '{"a":1}', large)
        assert QueuedJob.objects.get().payload == large


def test_a_result_in_the_way_of_the_last_group_costs_no_text_of_the_first(
    rows: DatabaseBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "HEAVIEST", 10_000)
    value = '"' + "x" * 9_000 + '"'
    claims = sorted((message(payload='"' + "y" * 4_000 + '"') for _ in range(6)), key=lambda claim: claim.job.id)
    assert rows.record([success(claims[-1])], HOLDER, AUTHOR)

    assert rows.record([success(claim, value) for claim in claims], HOLDER, AUTHOR)

    values = dict(JobResult.objects.values_list("id", "return_value"))
    assert [values[UUID(claim.job.id)] for claim in claims] == [value] * 5 + ["1"]


def test_what_the_store_never_takes_is_refused_and_nothing_is_written(rows: DatabaseBroker) -> None:
    bad = message(priority=None)
    with pytest.raises(OutcomeRefused):
        rows.record([success(message()), failure(bad), retry(message())], HOLDER, AUTHOR)
    assert written_rows() == (0, 0, 0)


# --- wishes and the look --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", [HOLDER, "host/unknown"])
def test_a_wish_goes_in_the_same_transaction(rows: DatabaseBroker, holder: str) -> None:
    ended, other = message(), message()
    for claim in (ended, other):
        CancelWish.objects.create(job_id=claim.job.id, backend="default", asked_at=DatabaseNow())

    assert rows.record([success(ended)], holder, AUTHOR, forget=[ended.job.id]) == (holder == HOLDER)

    left = {str(id_) for id_ in CancelWish.objects.values_list("job_id", flat=True)}
    assert left == ({other.job.id} if holder == HOLDER else {ended.job.id, other.job.id})


def test_the_store_knows_the_ends_that_it_was_told(rows: DatabaseBroker) -> None:
    outcomes = {name: end(message()) for name, end in (ENDS | BACK).items()}
    unknown = message()
    assert rows.record(list(outcomes.values()), HOLDER, AUTHOR, sweep=True)

    claims = [outcome.claim for outcome in outcomes.values()]
    found = written([*claims, unknown], "default")

    silent = outcomes["success, not kept"].claim.job.id
    assert found == {claim.job.id for claim in claims} - {silent}


@pytest.mark.parametrize("state", STATES)
def test_a_row_tells_of_an_end_if_it_is_a_job_of_its_own(state: str) -> None:
    claim = message()
    existing(claim, state)
    *_, stands_in, _ = STATES[state]
    assert written([claim], "default") == (set() if stands_in else {claim.job.id})


def test_a_retry_that_has_ended_without_a_result_is_known_by_its_attempt(rows: DatabaseBroker) -> None:
    claim = message()
    assert rows.record([retry(claim)], HOLDER, AUTHOR)
    (again,) = rows.claim(["default"], 1, HOLDER)
    rows.settle([Succeeded(again, monotonic(), monotonic(), None)], HOLDER)
    assert written_rows() == (0, 1, 0)

    assert written([claim], "default") == {claim.job.id}


def test_an_expiry_does_not_end_what_has_begun(rows: DatabaseBroker) -> None:
    claim = message(expires_us=1)
    assert rows.record([Released(claim, began=True)], HOLDER, AUTHOR)
    QueuedJob.objects.update(expires_at=datetime.now(UTC) - timedelta(hours=1))
    assert rows.claim(["default"], 1, HOLDER)[0].verdict == ""

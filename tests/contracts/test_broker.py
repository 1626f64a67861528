"""What every broker promises, on the database that this run is for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from taskq_django import control
from taskq_django.brokers import Broker, broker_for
from taskq_django.handles import read_results
from taskq_django.jobs import Claim, Discarded, Failed, Failure, Job, Outcome, Retried, Returned, Succeeded, new_id
from taskq_django.models import JobAttempt, JobResult, PausedQueue, QueuedJob
from taskq_django.states import State
from tests.app import tasks
from tests.support.workers import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

ME, OTHER = "worker-1", "worker-2"
FAILURE = Failure("builtins.ValueError", "no", "Traceback …\nValueError: no\n")


@pytest.fixture
def broker() -> Broker:
    return broker_for("default", "database://")


def job(**changes: object) -> Job:
    given = {
        "id": new_id(),
        "task_path": "app.tasks.add",
        "payload": "[[1],{}]",
        "backend": "default",
        "queue_name": "default",
    }
    return Job(**{**given, **changes})


def as_sent(claim: Claim) -> Job:
    return claim.job._replace(attempts=0, enqueued_at=0.0)


def claim_all(broker: Broker, queue: str = "default", worker: str = ME) -> list[Claim]:
    return broker.claim(queue, 100, worker)


def test_a_sent_job_is_claimed_once(broker: Broker) -> None:
    sent = job()
    broker.send([sent])

    (claim,) = claim_all(broker)

    assert as_sent(claim) == sent
    assert claim.attempt == 1
    assert claim_all(broker, worker=OTHER) == []
    row = QueuedJob.objects.get()
    assert (row.status, row.worker_id) == ("RUNNING", ME)


def test_send_says_when_by_the_brokers_clock(broker: Broker) -> None:
    sent = job()
    moment = broker.send([sent])
    assert QueuedJob.objects.get().enqueued_at == moment


def test_higher_priority_goes_first_and_older_first_within_one(broker: Broker) -> None:
    low, first, second, high = job(priority=-5), job(), job(), job(priority=100)
    for each in (low, first, second, high):
        broker.send([each])

    assert [claim.job.id for claim in claim_all(broker)] == [high.id, first.id, second.id, low.id]


def test_order_holds_over_several_claims(broker: Broker) -> None:
    jobs = [job(priority=priority) for priority in (0, 3, -2, 3, 0)]
    broker.send(jobs)
    claimed = [broker.claim("default", 1, ME)[0].job for _ in jobs]
    assert [j.priority for j in claimed] == [3, 3, 0, 0, -2]
    assert [j.id for j in claimed if j.priority == 3] == [jobs[1].id, jobs[3].id]


def test_many_are_sent_at_once_and_none_is_lost(broker: Broker) -> None:
    jobs = [job(headers='{"n":1}' if n % 2 else "") for n in range(250)]
    broker.send(jobs)
    got = [as_sent(claim) for _ in range(3) for claim in broker.claim("default", 100, ME)]
    assert sorted(got) == sorted(jobs)


@pytest.mark.parametrize("many", [False, True], ids=["alone", "in a batch"])
def test_what_a_job_has_lived_through_travels_with_it(broker: Broker, many: bool) -> None:
    lived = job(tries=2, attempts=5, crashes=1, losses=3, enqueued_at=1_700_000_000.25, started_at=1_700_000_001.5)
    broker.send([lived, job()] if many else [lived])

    claim, *others = claim_all(broker)

    assert claim.job == lived._replace(attempts=6, started_at=0.0)
    assert [(other.attempt, other.job.losses) for other in others] == [(1, 0)] * many
    broker.settle([Succeeded(claim, 0, 1, "1")], ME)
    result = read_results([lived.id], broker.database)[lived.id]
    assert (result.enqueued_at.timestamp(), result.started_at.timestamp()) == (lived.enqueued_at, lived.started_at)


def test_a_batch_is_sent_whole_or_not_at_all(broker: Broker) -> None:
    first, second = job(), job()
    with pytest.raises(DatabaseError):
        broker.send([first, second, first])
    assert not QueuedJob.objects.exists()


def test_a_claim_takes_one_queue_only(broker: Broker) -> None:
    broker.send([job(queue_name="mail"), job(queue_name="reports")])
    assert [c.job.queue_name for c in claim_all(broker, "mail")] == ["mail"]
    assert broker.ready_queues() == ["reports"]


def test_queue_names_are_compared_to_the_letter(broker: Broker) -> None:
    names = ["mail", "Mail", "mäil"]
    broker.send([job(queue_name=name) for name in names])
    PausedQueue.objects.create(backend="default", queue_name="MAIL")
    assert sorted(broker.ready_queues()) == sorted(names)
    for name in names:
        assert [claim.job.queue_name for claim in claim_all(broker, name)] == [name]


def test_ready_queues_are_those_with_ready_jobs_that_are_not_paused(broker: Broker) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    broker.send(
        [job(queue_name="b"), job(queue_name="a"), job(queue_name="c"), job(queue_name="later", run_after=later)]
    )
    PausedQueue.objects.create(backend="default", queue_name="b")
    PausedQueue.objects.create(backend="other", queue_name="c")
    assert broker.ready_queues() == ["a", "c"]


def test_another_backends_jobs_are_not_seen(broker: Broker) -> None:
    broker_for("other", "database://").send([job(backend="other")])
    assert broker.ready_queues() == []
    assert claim_all(broker) == []


def test_a_success_moves_to_the_history_with_its_value(broker: Broker) -> None:
    sent = job(headers='{"metadata":{"a":1}}', priority=7)
    moment = broker.send([sent])
    (claim,) = claim_all(broker)
    outcome = Succeeded(claim, 0.0, 1.5, "3")

    assert broker.settle([outcome], ME) == [outcome]

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
    assert row.enqueued_at == moment
    assert row.started_at == row.last_attempted_at
    assert abs((row.finished_at - row.started_at).total_seconds() - 1.5) < 0.01


def test_a_job_that_keeps_no_result_leaves_nothing(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)
    broker.settle([Succeeded(claim, 0, 1, None)], ME)
    assert not QueuedJob.objects.exists()
    assert not JobResult.objects.exists()


def test_a_failure_keeps_its_attempt(broker: Broker) -> None:
    sent = job()
    broker.send([sent])
    (claim,) = claim_all(broker)
    broker.settle([Failed(claim, 0, 1, FAILURE)], ME)
    row, attempt = JobResult.objects.get(), JobAttempt.objects.get()
    assert (row.status, row.exception_class, row.message, row.tries) == ("FAILED", "builtins.ValueError", "no", 1)
    assert (str(attempt.job_id), attempt.number, attempt.worker_id, attempt.traceback) == (
        sent.id,
        1,
        ME,
        FAILURE.traceback,
    )


def test_a_discarded_job_is_cancelled_with_its_reason(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)
    broker.settle([Discarded(claim, 0, 0, State.CANCELLED, "not today")], ME)
    row = JobResult.objects.get()
    assert (row.status, row.message, row.return_value) == ("CANCELLED", "not today", None)


def test_a_retry_waits_for_its_time_and_counts(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)

    broker.settle([Retried(claim, 0, 1, FAILURE, 3600.0)], ME)

    row = QueuedJob.objects.get()
    assert (row.status, row.tries, row.attempts, row.token, row.worker_id) == ("SCHEDULED", 1, 1, None, None)
    assert JobAttempt.objects.count() == 1
    assert broker.ready_queues() == []


def test_a_retry_without_delay_queues_behind_fresh_work(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)
    fresh = job()
    broker.send([fresh])
    broker.settle([Retried(claim, 0, 1, FAILURE, 0.0)], ME)

    again = claim_all(broker)

    assert [c.job.id for c in again] == [fresh.id, claim.job.id]
    assert (again[1].attempt, again[1].job.tries) == (2, 1)


def test_a_released_job_is_claimed_again_in_its_place_and_pays_nothing(broker: Broker) -> None:
    first, second = job(), job()
    broker.send([first])
    broker.send([second])
    (claim,) = broker.claim("default", 1, ME)
    broker.settle([Returned(claim, began=False)], ME)
    again = claim_all(broker)
    assert [c.job.id for c in again] == [first.id, second.id]
    assert (again[0].attempt, again[0].job.tries) == (1, 0)


def test_a_job_cut_off_by_a_stop_counts_the_attempt_but_no_try(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)
    broker.settle([Returned(claim, began=True)], ME)
    (again,) = claim_all(broker)
    assert (again.attempt, again.job.tries) == (2, 0)


def test_a_job_is_known_to_have_begun_until_it_goes_back(broker: Broker) -> None:
    broker.send([job(), job()])
    first, second = claim_all(broker)
    assert broker.note_begun(first)
    assert {c.job.id: c.has_begun for c, _ in broker.orphans(ME)[ME]} == {first.job.id: True, second.job.id: False}
    broker.settle([Returned(first, began=True)], ME)
    broker.release_unanswered(ME, [])
    assert [c.job.id for c in claim_all(broker, worker=OTHER)] == [first.job.id, second.job.id]
    assert not any(c.has_begun for c, _ in broker.orphans(OTHER)[OTHER])


def test_a_job_does_not_begin_under_a_claim_that_was_lost(broker: Broker) -> None:
    broker.send([job()])
    (lost,) = claim_all(broker)
    QueuedJob.objects.update(status="READY", token=None, worker_id=None)  # as a rescue does
    (held,) = claim_all(broker, worker=OTHER)
    assert not broker.note_begun(lost)
    assert broker.note_begun(held)
    broker.settle([Succeeded(held, 0, 1, "1")], OTHER)
    assert not broker.note_begun(held)


@pytest.mark.parametrize("late", ["succeeded", "failed", "retried", "returned"])
def test_a_worker_that_lost_its_claim_changes_nothing(broker: Broker, late: str) -> None:
    broker.send([job()])
    (lost,) = claim_all(broker)
    QueuedJob.objects.update(status="READY", token=None, worker_id=None)  # as a rescue does
    (held,) = claim_all(broker, worker=OTHER)
    outcome = {
        "succeeded": Succeeded(lost, 0, 1, "1"),
        "failed": Failed(lost, 0, 1, FAILURE),
        "retried": Retried(lost, 0, 1, FAILURE, 0.0),
        "returned": Returned(lost, began=True),
    }[late]

    assert broker.settle([outcome], ME) == []

    row = QueuedJob.objects.get()
    assert (row.status, row.worker_id, row.token and row.token.hex) == ("RUNNING", OTHER, held.receipt)
    assert not JobResult.objects.exists()
    assert not JobAttempt.objects.exists()
    assert broker.settle([Succeeded(held, 0, 1, "2")], OTHER)
    assert JobResult.objects.get().return_value == "2"


def test_a_mixed_group_is_settled_each_by_its_outcome(broker: Broker) -> None:
    broker.send([job() for _ in range(5)])
    a, b, c, d, e = claim_all(broker)
    unknown = Succeeded(a._replace(receipt=uuid4().hex), 0, 1, "0")
    group = [
        Succeeded(b, 0, 1, "1"),
        Failed(c, 0, 1, FAILURE),
        Retried(d, 0, 1, FAILURE, 60),
        Returned(e, began=False),
        unknown,
    ]
    assert broker.settle(group, ME) == group[:4]
    assert sorted(JobResult.objects.values_list("status", flat=True)) == ["FAILED", "SUCCESSFUL"]
    assert sorted(QueuedJob.objects.values_list("status", flat=True)) == ["READY", "RUNNING", "SCHEDULED"]
    assert JobAttempt.objects.count() == 2


def test_a_held_job_is_promoted_when_its_time_comes(broker: Broker) -> None:
    broker.send([job(run_after=datetime.now(UTC) + timedelta(hours=1)), job(delay_us=3_600_000_000)])
    assert set(QueuedJob.objects.values_list("status", flat=True)) == {"SCHEDULED"}
    due_in = broker.promote()
    assert due_in is not None
    assert 3590 < due_in < 3601
    assert claim_all(broker) == []

    QueuedJob.objects.update(available_at=datetime.now(UTC) - timedelta(seconds=1))
    due_in = broker.promote()

    assert due_in is not None
    assert due_in <= 0
    assert len(claim_all(broker)) == 2
    assert broker.promote() is None


def test_a_moment_that_has_passed_is_now(broker: Broker) -> None:
    broker.send([job(run_after=datetime.now(UTC) - timedelta(days=1)), job(delay_us=-5)])
    assert len(claim_all(broker)) == 2


def test_jobs_join_the_callers_transaction(broker: Broker) -> None:
    def undone() -> None:
        with transaction.atomic():
            broker.send([job()])
            broker.send([job(), job()])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undone()
    assert not QueuedJob.objects.exists()


def test_two_workers_never_claim_the_same_job(broker: Broker) -> None:
    broker.send([job() for _ in range(400)])
    claimed: dict[str, list[str]] = {"a": [], "b": [], "c": []}

    def work(name: str) -> None:
        while got := broker.claim("default", 7, name):
            claimed[name] += [claim.job.id for claim in got]
            broker.settle([Succeeded(claim, 0, 1, "null") for claim in got], name)
        connection.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    every = [id_ for ids in claimed.values() for id_ in ids]
    assert len(every) == len(set(every)) == 400
    assert JobResult.objects.count() == 400


def test_hostile_text_travels_unchanged(broker: Broker) -> None:
    nasty = '[["\'; DROP TABLE x; -- %s %(a)s ☃ \\u0041 \\" "],{}]'
    broker.send([job(payload=nasty)])
    (claim,) = claim_all(broker)
    assert claim.job.payload == nasty
    failure = Failure("a.B", "100 % 'odd' \"text\" ☃", "Traceback %s\n  'x'\n")
    broker.settle([Failed(claim, 0, 1, failure)], ME)
    assert JobResult.objects.get().message == failure.message
    assert JobAttempt.objects.get().traceback == failure.traceback


def rings(broker: Broker, act: Callable[[], object]) -> bool:
    """Does the bell of a loop ring when another thread does this?"""
    bell = broker.bell()
    if bell.patience(3600) < 0.2:
        return True  # nothing rings there: the loop looks often
    while bell.rang():
        pass
    broker._rang_at = float("-inf")  # type: ignore[attr-defined]  # another test may have rung a moment ago
    thread = threading.Thread(target=lambda: (act(), connection.close()))
    thread.start()
    thread.join()
    wait_for(bell.rang, timeout=5)  # a notification may come some milliseconds after its commit
    return not bell.rang()


def test_a_bell_rings_for_another_connections_commit(broker: Broker) -> None:
    assert rings(broker, lambda: broker.send([job()]))


def test_a_bell_rings_for_a_retry_as_for_an_enqueue(broker: Broker) -> None:
    result = tasks.add.enqueue(1)
    result.cancel()
    assert rings(broker, lambda: control.retry([result.id], broker))


def test_threads_that_all_write_at_once_lose_nothing(broker: Broker) -> None:
    """Senders, claimers that settle and put back, promoters: deadlocks and busy locks are theirs to sit out."""
    total, seen, errors, lock = 240, [], [], threading.Lock()

    def send() -> None:
        for n in range(total // 20):
            broker.send([job(priority=k % 3, delay_us=1000 if k % 2 else None) for k in range(n, n + 10)])

    def work(worker: str) -> None:
        while len(seen) < total:
            claims = [claim for name in broker.ready_queues() for claim in broker.claim(name, 7, worker)]
            outcomes: list[Outcome] = [
                Returned(claim, began=True) if claim.attempt == 1 and n % 3 == 0 else Succeeded(claim, 0, 1, "1")
                for n, claim in enumerate(claims)
            ]
            counted = broker.settle(outcomes, worker) if outcomes else []
            with lock:
                seen.extend(outcome.claim.job.id for outcome in counted if isinstance(outcome, Succeeded))
            broker.promote()

    def guarded(act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            errors.append(error)
            seen.extend([""] * total)  # so that the others end
        finally:
            connection.close()

    acts = [send, send, lambda: work("a"), lambda: work("b"), lambda: work("c")]
    threads = [threading.Thread(target=guarded, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(seen) == len(set(seen)) == JobResult.objects.count() == total
    assert not QueuedJob.objects.exists()


def test_a_claim_whose_answer_was_lost_goes_back(broker: Broker) -> None:
    broker.send([job() for _ in range(3)])
    known = broker.claim("default", 1, ME)
    broker.claim("default", 1, ME)  # the worker never hears of this one
    others = broker.claim("default", 1, OTHER)

    assert broker.release_unanswered(ME, {claim.job.id for claim in known}) == 1

    (again,) = claim_all(broker)
    assert again.attempt == 1
    assert broker.settle([Succeeded(claim, 0, 1, "1") for claim in known], ME)
    assert broker.settle([Succeeded(claim, 0, 1, "1") for claim in others], OTHER)

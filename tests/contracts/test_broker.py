"""What every broker promises, asked through its own methods, control and handles: no table, and no transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from taskq_django import control
from taskq_django.brokers import Broker, broker_for
from taskq_django.brokers.base import Cancelled
from taskq_django.conf import BackendOptions
from taskq_django.handles import read_results
from taskq_django.jobs import Claim, Discarded, Failed, Failure, Outcome, Released, Retried, Succeeded, new_id
from taskq_django.results import Result
from taskq_django.states import State
from taskq_django.worker.lease import Lease
from tests.support.sending import FAILURE, as_sent, job
from tests.support.workers import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

ME, OTHER, HEIR = "worker-1", "worker-2", "worker-3"
LATER = datetime.now(UTC) + timedelta(hours=1)
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def members(transactional_db: None) -> Lease:
    """Who claims is registered; who is forgotten has died."""
    lease = Lease("tests", "default", every=60, lasts=180, described={})
    lease.register(HEIR)
    lease.enrol(dict.fromkeys([ME, OTHER, "a", "b", "c"], 1))
    return lease


def read(broker: Broker, id_: str) -> Result[Any]:
    return read_results([id_], broker)[id_]


def states(broker: Broker, ids: list[str]) -> list[State]:
    """Of those that are known."""
    found = read_results(ids, broker)
    return [found[id_].state for id_ in ids if id_ in found]


def claim_all(broker: Broker, queue: str = "default", worker: str = ME) -> list[Claim]:
    claims: list[Claim] = []
    while taken := broker.claim([queue], 100, worker):
        claims += taken
    return claims


def lose(broker: Broker) -> None:
    """What ME holds is rescued: it counts as dead, though it may live."""
    held = broker.orphans(HEIR, ME)[ME]
    assert broker.settle([Released(claim, began=False) for claim, _ in held], ME)


def test_a_sent_job_is_claimed_once(broker: Broker) -> None:
    sent = job()
    broker.send([sent])

    (claim,) = claim_all(broker)

    assert as_sent(claim) == sent
    assert claim.attempt == 1
    assert claim_all(broker, worker=OTHER) == []
    result = read(broker, sent.id)
    assert (result.state, result.worker_ids) == (State.RUNNING, [ME])


def test_send_says_when_by_the_brokers_clock(broker: Broker) -> None:
    sent = job()
    moment = broker.send([sent])
    assert read(broker, sent.id).enqueued_at == moment


def test_higher_priority_goes_first_and_older_first_within_one(broker: Broker) -> None:
    low, first, second, high = job(priority=-5), job(), job(), job(priority=100)
    for each in (low, first, second, high):
        broker.send([each])

    assert [claim.job.id for claim in claim_all(broker)] == [high.id, first.id, second.id, low.id]


def test_order_holds_over_several_claims(broker: Broker) -> None:
    jobs = [job(priority=priority) for priority in (0, 3, -2, 3, 0)]
    broker.send(jobs)
    claimed = [broker.claim(["default"], 1, ME)[0].job for _ in jobs]
    assert [j.priority for j in claimed] == [3, 3, 0, 0, -2]
    assert [j.id for j in claimed if j.priority == 3] == [jobs[1].id, jobs[3].id]


def test_many_are_sent_at_once_and_none_is_lost(broker: Broker) -> None:
    jobs = [job(headers='{"n":1}' if n % 2 else "") for n in range(250)]
    broker.send(jobs)
    got = [as_sent(claim) for _ in range(3) for claim in broker.claim(["default"], 100, ME)]
    assert sorted(got) == sorted(jobs)


@pytest.mark.parametrize("many", [False, True], ids=["alone", "in a batch"])
def test_what_a_job_has_lived_through_travels_with_it(broker: Broker, many: bool) -> None:
    lived = job(tries=2, attempts=5, crashes=1, losses=3, enqueued_at=1_700_000_000.25, started_at=1_700_000_001.5)
    broker.send([lived, job()] if many else [lived])

    claim, *others = claim_all(broker)

    assert claim.job == lived._replace(attempts=6, started_at=0.0)
    assert [(other.attempt, other.job.losses) for other in others] == [(1, 0)] * many
    broker.settle([Succeeded(claim, 0, 1, "1")], ME)
    result = read_results([lived.id], broker)[lived.id]
    assert (result.enqueued_at.timestamp(), result.started_at.timestamp()) == (lived.enqueued_at, lived.started_at)


def test_what_is_put_off_is_ready_again_later_and_its_start_does_not_count(broker: Broker) -> None:
    sent = [job(), job(priority=3, expires_us=3_600_000_000)]
    broker.send(sent)
    claims = claim_all(broker)
    back = [Released(claim, began=False, delay=3600.0) for claim in claims]

    assert broker.settle(back, ME) == back
    assert broker.settle(back, ME, {claim.job.id for claim in claims}) == back, "an answer was lost"

    assert claim_all(broker) == []
    assert states(broker, [each.id for each in sent]) == [State.SCHEDULED] * 2
    assert {read(broker, each.id).attempts for each in sent} == {0}
    assert broker.promote() == pytest.approx(3600, abs=60)


def test_one_job_can_be_claimed_by_its_id_before_its_time(broker: Broker) -> None:
    sent = job(priority=2, headers='{"n":1}')
    broker.send([sent, job()])
    broker.settle([Released(claim, began=False, delay=3600.0) for claim in claim_all(broker)], ME)

    claim = broker.take(sent.id, OTHER)

    assert claim is not None
    assert (as_sent(claim), claim.attempt, claim.waited, claim.verdict) == (sent, 1, 0.0, "")
    assert broker.take(sent.id, ME) is None, "it is held"
    assert broker.settle([Succeeded(claim, 0, 1, "1")], OTHER)
    assert broker.take(sent.id, ME) is None, "it has ended"
    assert read(broker, sent.id).worker_ids == [OTHER]


def test_a_job_of_a_paused_queue_is_not_claimed_by_its_id(broker: Broker) -> None:
    sent = job(delay_us=3_600_000_000)
    broker.send([sent])
    control.pause("default", broker)
    assert broker.take(sent.id, ME) is None


def test_what_has_expired_says_so_when_it_is_claimed_by_its_id(broker: Broker) -> None:
    sent = job(expires_us=300_000)
    broker.send([sent])
    claims = claim_all(broker)

    def has_expired() -> bool:
        broker.settle([Released(claims.pop(), began=False, delay=3600.0)], ME)
        claim = broker.take(sent.id, ME)
        assert claim is not None
        claims.append(claim)
        return claim.verdict == State.EXPIRED

    wait_for(has_expired)


def test_a_worker_that_lost_its_claim_puts_nothing_off(broker: Broker) -> None:
    sent = job()
    broker.send([sent])
    (claim,) = claim_all(broker)
    lose(broker)
    assert broker.settle([Released(claim, began=False, delay=3600.0)], ME) == []
    (again,) = claim_all(broker, worker=OTHER)
    assert again.job.id == sent.id


def test_a_claim_takes_one_queue_only(broker: Broker) -> None:
    broker.send([job(queue_name="mail"), job(queue_name="reports")])
    assert [c.job.queue_name for c in claim_all(broker, "mail")] == ["mail"]
    assert broker.ready_queues() == ["reports"]


def test_a_claim_of_several_queues_goes_on_to_the_next_while_there_is_room(broker: Broker) -> None:
    names = ["mail", "reports", "default", "Mail"]
    jobs = {name: [job(queue_name=name) for _ in range(2)] for name in names}
    broker.send([each for of_one in jobs.values() for each in of_one])
    asked = ["reports", "empty", "mail", "Mail", "default"]

    claims = broker.claim(asked, 5, ME) + broker.claim(asked, 5, OTHER)

    expected = [each for name in asked if name in jobs for each in jobs[name]]
    assert [claim.job.id for claim in claims] == [each.id for each in expected]
    assert [claim.job.queue_name for claim in claims] == [each.queue_name for each in expected]
    assert broker.claim(asked, 5, ME) == []


def test_what_comes_first_is_claimed_first_though_a_backlog_was_begun(broker: Broker) -> None:
    broker.send([job() for _ in range(30)])
    begun = broker.claim(["default"], 10, ME)
    broker.settle([Released(begun[0], began=False)], ME)
    urgent, later = job(priority=7), job(priority=-7)
    broker.send([later, urgent])

    rest = claim_all(broker)

    assert rest[0].job.id == urgent.id
    assert rest[-1].job.id == later.id
    assert {claim.job.id for claim in begun[1:]} | {claim.job.id for claim in rest} == {
        claim.job.id for claim in [*begun, *rest]
    }
    assert len(rest) == 23


def test_queue_names_are_compared_to_the_letter(broker: Broker) -> None:
    names = ["mail", "Mail", "mäil"]
    broker.send([job(queue_name=name) for name in names])
    control.pause("MAIL", broker)
    assert sorted(broker.ready_queues()) == sorted(names)
    for name in names:
        assert [claim.job.queue_name for claim in claim_all(broker, name)] == [name]


def test_ready_queues_are_those_with_ready_jobs_that_are_not_paused(broker: Broker) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    broker.send(
        [job(queue_name="b"), job(queue_name="a"), job(queue_name="c"), job(queue_name="later", run_after=later)]
    )
    control.pause("b", broker)
    control.pause("c", broker_for("other", BackendOptions()))
    assert sorted(broker.ready_queues()) == ["a", "c"]


def test_another_backends_jobs_are_not_seen(broker: Broker) -> None:
    broker_for("other", BackendOptions()).send([job(backend="other")])
    assert broker.ready_queues() == []
    assert claim_all(broker) == []


def test_a_success_is_read_with_its_value(broker: Broker) -> None:
    sent = job(headers='{"metadata":{"a":1}}', priority=7)
    moment = broker.send([sent])
    (claim,) = claim_all(broker)
    outcome = Succeeded(claim, 0.0, 1.5, "3")

    assert broker.settle([outcome], ME) == [outcome]

    result = read(broker, sent.id)
    assert (result.state, result.return_value, result.worker_ids) == (State.SUCCESSFUL, 3, [ME])
    assert (result.args, result.metadata, result.task.priority) == ([1], {"a": 1}, 7)
    assert result.enqueued_at == moment
    assert result.started_at == result.last_attempted_at
    assert abs((result.finished_at - result.started_at).total_seconds() - 1.5) < 0.01


def test_a_job_that_keeps_no_result_leaves_nothing(broker: Broker) -> None:
    sent = job()
    broker.send([sent])
    (claim,) = claim_all(broker)
    broker.settle([Succeeded(claim, 0, 1, None)], ME)
    assert states(broker, [sent.id]) == []
    assert broker.depth() == []


def test_a_failure_keeps_its_attempt(broker: Broker) -> None:
    sent = job()
    broker.send([sent])
    (claim,) = claim_all(broker)
    broker.settle([Failed(claim, 0, 1, FAILURE)], ME)
    result = read(broker, sent.id)
    assert (result.state, result.reason, result.attempts, result.worker_ids) == (State.FAILED, "no", 1, [ME])
    (error,) = result.errors
    assert (error.exception_class_path, error.traceback) == ("builtins.ValueError", FAILURE.traceback)


def test_a_discarded_job_is_cancelled_with_its_reason(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)
    broker.settle([Discarded(claim, 0, 0, State.CANCELLED, "not today")], ME)
    result = read(broker, claim.job.id)
    assert (result.state, result.reason) == (State.CANCELLED, "not today")


def unbegun(claim: Claim) -> Outcome:
    """What an executor makes of a claim that is not to be run."""
    return Discarded(claim, 0, 0, State(claim.verdict), "", began=False)


def test_what_ends_before_it_has_begun_counts_no_attempt(broker: Broker) -> None:
    expires, cancelled = job(expires_us=-1), job(queue_name="mail")
    broker.send([expires, cancelled])
    (late,) = claim_all(broker)
    (asked_since,) = claim_all(broker, "mail")
    control.cancel([cancelled.id], broker)
    broker.settle([Released(asked_since, began=False)], ME)
    claims = [late, *claim_all(broker, "mail")]
    assert [claim.verdict for claim in claims] == [State.EXPIRED, State.CANCELLED]

    assert len(broker.settle([unbegun(claim) for claim in claims], ME)) == 2

    for each in (expires, cancelled):
        result = read(broker, each.id)
        assert (result.attempts, result.worker_ids, result.started_at, result.last_attempted_at) == (0, [], None, None)


def test_a_retry_that_is_cancelled_before_it_has_begun_counts_the_attempts_before(broker: Broker) -> None:
    sent = job()
    broker.send([sent])
    broker.settle([Retried(claim, 0, 1, FAILURE, 0.0) for claim in claim_all(broker)], ME)
    (claim,) = claim_all(broker, worker=OTHER)
    control.cancel([sent.id], broker)
    broker.settle([Released(claim, began=False)], OTHER)
    (claim,) = claim_all(broker, worker=OTHER)
    broker.settle([unbegun(claim)], OTHER)

    result = read(broker, sent.id)
    assert (result.state, result.attempts, result.worker_ids, len(result.errors)) == (State.CANCELLED, 1, [ME], 1)
    assert result.started_at is not None

    assert control.retry([sent.id], broker)
    (again,) = claim_all(broker)
    assert again.attempt == 2


def test_a_retry_waits_for_its_time(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)

    broker.settle([Retried(claim, 0, 1, FAILURE, 3600.0)], ME)

    result = read(broker, claim.job.id)
    assert (result.state, result.attempts, len(result.errors)) == (State.SCHEDULED, 1, 1)
    assert broker.ready_queues() == []
    due_in = broker.promote()
    assert due_in is not None
    assert 3590 < due_in <= 3600


def test_a_retry_without_delay_queues_behind_fresh_work(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)
    fresh = job()
    broker.send([fresh], in_store=True)
    broker.settle([Retried(claim, 0, 1, FAILURE, 0.0)], ME)

    again = claim_all(broker)

    assert [c.job.id for c in again] == [fresh.id, claim.job.id]
    assert (again[1].attempt, again[1].job.tries) == (2, 1)


def test_a_released_job_is_claimed_again_in_its_place_and_pays_nothing(broker: Broker) -> None:
    first, second = job(), job()
    broker.send([first])
    broker.send([second])
    (claim,) = broker.claim(["default"], 1, ME)
    broker.settle([Released(claim, began=False)], ME)
    again = claim_all(broker)
    assert [c.job.id for c in again] == [first.id, second.id]
    assert (again[0].attempt, again[0].job.tries) == (1, 0)


def test_a_job_cut_off_by_a_stop_counts_the_attempt_but_no_try(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)
    broker.settle([Released(claim, began=True)], ME)
    (again,) = claim_all(broker)
    assert (again.attempt, again.job.tries) == (2, 0)


def test_a_job_is_known_to_have_begun_until_it_goes_back(broker: Broker) -> None:
    broker.send([job(), job()], in_store=True)
    first, second = claim_all(broker)
    assert broker.note_begun(first)
    assert {c.job.id: c.has_begun for c, _ in broker.orphans(HEIR, ME)[ME]} == {
        first.job.id: True,
        second.job.id: False,
    }
    broker.settle([Released(first, began=True)], ME)
    assert broker.note_begun(second)
    broker.release_unanswered(ME, [])
    assert [c.job.id for c in claim_all(broker, worker=OTHER)] == [first.job.id, second.job.id]
    assert not any(c.has_begun for c, _ in broker.orphans(HEIR, OTHER)[OTHER])


def test_a_job_does_not_begin_under_a_claim_that_was_lost(broker: Broker) -> None:
    broker.send([job()], in_store=True)
    (lost,) = claim_all(broker)
    lose(broker)
    (held,) = claim_all(broker, worker=OTHER)
    assert not broker.note_begun(lost)
    assert broker.note_begun(held)
    broker.settle([Succeeded(held, 0, 1, "1")], OTHER)
    assert not broker.note_begun(held)


@pytest.mark.parametrize("late", ["succeeded", "failed", "retried", "returned"])
def test_a_worker_that_lost_its_claim_changes_nothing(broker: Broker, late: str) -> None:
    broker.send([job()])
    (lost,) = claim_all(broker)
    lose(broker)
    (held,) = claim_all(broker, worker=OTHER)
    outcome = {
        "succeeded": Succeeded(lost, 0, 1, "1"),
        "failed": Failed(lost, 0, 1, FAILURE),
        "retried": Retried(lost, 0, 1, FAILURE, 0.0),
        "returned": Released(lost, began=True),
    }[late]

    assert broker.settle([outcome], ME) == []

    result = read(broker, held.job.id)
    assert (result.state, result.worker_ids, result.errors) == (State.RUNNING, [OTHER], [])
    assert broker.settle([Succeeded(held, 0, 1, "2")], OTHER)
    assert read(broker, held.job.id).return_value == 2


def test_a_mixed_group_is_settled_each_by_its_outcome(broker: Broker) -> None:
    broker.send([job() for _ in range(5)])
    a, b, c, d, e = claim_all(broker)
    unknown = Succeeded(a._replace(receipt=uuid4().hex), 0, 1, "0")
    group = [
        Succeeded(b, 0, 1, "1"),
        Failed(c, 0, 1, FAILURE),
        Retried(d, 0, 1, FAILURE, 60),
        Released(e, began=False),
        unknown,
    ]
    assert broker.settle(group, ME) == group[:4]
    ids = [claim.job.id for claim in (a, b, c, d, e)]
    assert states(broker, ids) == [State.RUNNING, State.SUCCESSFUL, State.FAILED, State.SCHEDULED, State.READY]
    assert [len(read(broker, id_).errors) for id_ in ids] == [0, 0, 1, 1, 0]


def test_a_scheduled_job_is_promoted_when_its_time_comes(broker: Broker) -> None:
    later = [job(run_after=datetime.now(UTC) + timedelta(hours=1)), job(delay_us=3_600_000_000)]
    broker.send(later)
    due_in = broker.promote()
    assert due_in is not None
    assert 3000 < due_in < 3601
    soon = [job(run_after=datetime.now(UTC) + timedelta(seconds=3)), job(delay_us=1_000_000)]
    broker.send(soon)
    assert states(broker, [each.id for each in later + soon]) == [State.SCHEDULED] * 4
    assert claim_all(broker) == []

    def both_are_ready() -> bool:
        broker.promote()
        return states(broker, [each.id for each in soon]) == [State.READY] * 2

    wait_for(both_are_ready)
    assert {claim.job.id for claim in claim_all(broker)} == {each.id for each in soon}
    assert broker.promote() > 3000  # type: ignore[operator]


def test_a_moment_that_has_passed_is_now(broker: Broker) -> None:
    broker.send([job(run_after=datetime.now(UTC) - timedelta(days=1)), job(delay_us=-5)])
    assert len(claim_all(broker)) == 2


def test_two_workers_never_claim_the_same_job(broker: Broker) -> None:
    broker.send([job() for _ in range(400)])
    claimed: dict[str, list[str]] = {"a": [], "b": [], "c": []}

    def work(name: str) -> None:
        while got := broker.claim(["default"], 7, name):
            claimed[name] += [claim.job.id for claim in got]
            broker.settle([Succeeded(claim, 0, 1, "null") for claim in got], name)
        broker.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    every = [id_ for ids in claimed.values() for id_ in ids]
    assert len(every) == len(set(every)) == 400
    assert states(broker, every) == [State.SUCCESSFUL] * 400


def test_hostile_text_travels_unchanged(broker: Broker) -> None:
    nasty = '[["\'; DROP TABLE x; -- %s %(a)s ☃ \\u0041 \\" "],{}]'
    broker.send([job(payload=nasty)])
    (claim,) = claim_all(broker)
    assert claim.job.payload == nasty
    failure = Failure("a.B", "100 % 'odd' \"text\" ☃", "Traceback %s\n  'x'\n")
    broker.settle([Failed(claim, 0, 1, failure)], ME)
    result = read(broker, claim.job.id)
    assert (result.reason, result.errors[0].traceback) == (failure.message, failure.traceback)


def rings(broker: Broker, act: Callable[[], object]) -> bool:
    """Does a bell of a loop ring when another thread does this, once or again a moment later?"""
    bells = broker.bells()
    if any(bell.patience(3600) < 0.2 for bell in bells):
        return True  # nothing rings there: the loop looks often

    def rang() -> bool:
        return any([bell.rang() for bell in bells])  # noqa: C419 - every one is asked

    wait_for(lambda: not rang())

    def told() -> bool:
        thread = threading.Thread(target=lambda: (act(), broker.close()))
        thread.start()
        thread.join()
        return rang()

    wait_for(told)  # a notification may come some milliseconds after its commit
    return True


def test_a_bell_rings_for_another_connections_commit(broker: Broker) -> None:
    assert rings(broker, lambda: broker.send([job()]))


def test_a_bell_rings_for_a_retry_as_for_a_new_job(broker: Broker) -> None:
    sent = job()
    broker.send([sent])
    broker.settle([Failed(claim, 0, 1, FAILURE) for claim in claim_all(broker)], ME)
    assert rings(broker, lambda: control.retry([sent.id], broker))


def test_threads_that_all_write_at_once_lose_nothing(broker: Broker) -> None:
    """Senders, claimers that settle and put back, promoters: deadlocks and busy locks are theirs to sit out."""
    total, seen, errors, lock = 240, [], [], threading.Lock()

    def send() -> None:
        for n in range(total // 20):
            broker.send([job(priority=k % 3, delay_us=1000 if k % 2 else None) for k in range(n, n + 10)])

    def work(worker: str) -> None:
        while len(seen) < total:
            claims = [claim for name in broker.ready_queues() for claim in broker.claim([name], 7, worker)]
            outcomes: list[Outcome] = [
                Released(claim, began=True) if claim.attempt == 1 and n % 3 == 0 else Succeeded(claim, 0, 1, "1")
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
            broker.close()

    acts = [send, send, lambda: work("a"), lambda: work("b"), lambda: work("c")]
    threads = [threading.Thread(target=guarded, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert len(seen) == len(set(seen)) == total
    assert states(broker, seen) == [State.SUCCESSFUL] * total


def test_a_claim_whose_answer_was_lost_goes_back(broker: Broker) -> None:
    broker.send([job() for _ in range(3)])
    known = broker.claim(["default"], 1, ME)
    broker.claim(["default"], 1, ME)  # the worker never hears of this one
    others = broker.claim(["default"], 1, OTHER)

    assert broker.release_unanswered(ME, {claim.job.id for claim in known}) == 1

    (again,) = claim_all(broker)
    assert again.attempt == 1
    assert broker.settle([Succeeded(claim, 0, 1, "1") for claim in known], ME)
    assert broker.settle([Succeeded(claim, 0, 1, "1") for claim in others], OTHER)


@pytest.mark.parametrize(
    "end",
    [
        lambda claim: Succeeded(claim, 0, 1, "1"),
        lambda claim: Succeeded(claim, 0, 1, None),
        lambda claim: Failed(claim, 0, 1, FAILURE),
        lambda claim: Retried(claim, 0, 1, FAILURE, 60),
        lambda claim: Released(claim, began=True),
        lambda claim: Released(claim, began=False),
        lambda claim: Discarded(claim, 0, 1, State.EXPIRED, "", began=False),
    ],
    ids=["success", "success not kept", "failure", "retry", "cut off", "return", "expiry"],
)
def test_what_was_settled_without_an_answer_counts_when_it_is_asked_again(
    broker: Broker, end: Callable[[Claim], Outcome]
) -> None:
    broker.send([job(), job()])
    outcomes = [end(claim) for claim in claim_all(broker)]
    assert broker.settle(outcomes[:1], ME)
    before = states(broker, [outcomes[0].claim.job.id])

    counted = broker.settle(outcomes, ME, {outcomes[0].claim.job.id})

    assert sorted(outcome.claim.job.id for outcome in counted) == sorted(outcome.claim.job.id for outcome in outcomes)

    assert states(broker, [outcomes[0].claim.job.id]) == before


def test_what_others_hold_by_now_was_not_settled(broker: Broker) -> None:
    broker.send([job()])
    (lost,) = claim_all(broker)
    lose(broker)
    claim_all(broker, worker=OTHER)
    assert broker.settle([Succeeded(lost, 0, 1, "1")], ME, {lost.job.id}) == []


def test_what_a_dead_process_holds_is_settled_by_its_heir(broker: Broker) -> None:
    broker.send([job(tries=1, losses=2), job(), job()])
    (mine,) = broker.claim(["default"], 1, ME)
    theirs = broker.claim(["default"], 2, OTHER)

    ((claim, age),) = broker.orphans(HEIR, ME)[ME]

    assert (claim.job.id, claim.attempt, claim.job.tries, claim.job.losses) == (mine.job.id, 1, 1, 2)
    assert 0 <= age < 60
    assert broker.settle([Released(claim, began=False)], ME)
    assert broker.orphans(HEIR, ME) == {}
    assert broker.settle([Succeeded(mine, 0, 1, "1")], ME) == []
    assert len(broker.settle([Succeeded(claim, 0, 1, "1") for claim in theirs], OTHER)) == 2
    assert [claim.job.id for claim in claim_all(broker, worker=OTHER)] == [mine.job.id]


def test_the_heir_is_told_of_a_dead_process_again_until_nothing_is_left(broker: Broker) -> None:
    broker.send([job(), job()])
    claims = claim_all(broker)
    first = broker.orphans(HEIR, ME)[ME]
    again = broker.orphans(HEIR, ME)[ME]
    assert {claim.job.id for claim, _ in first} == {claim.job.id for claim, _ in again} == {c.job.id for c in claims}
    assert len(broker.settle([Released(claim, began=True) for claim, _ in again], ME)) == 2
    assert broker.orphans(HEIR, ME) == {}


def test_who_is_not_registered_has_died(broker: Broker, members: Lease) -> None:
    broker.send([job() for _ in range(3)])
    mine, theirs = broker.claim(["default"], 1, ME), broker.claim(["default"], 2, OTHER)
    assert broker.orphans(HEIR) == {}

    members.forget([ME])
    found = broker.orphans(HEIR)
    assert {worker: [claim.job.id for claim, _ in held] for worker, held in found.items()} == {ME: [mine[0].job.id]}
    assert broker.settle([Released(claim, began=True) for claim, _ in found[ME]], ME)
    assert broker.orphans(HEIR) == {}

    members.forget([OTHER])
    found = broker.orphans(HEIR)
    assert {claim.job.id for claim, _ in found[OTHER]} == {claim.job.id for claim in theirs}
    assert broker.settle([Released(claim, began=True) for claim, _ in found[OTHER]], OTHER)
    assert broker.orphans(HEIR) == {}
    assert len(claim_all(broker, worker="a")) == 3


def test_the_jobs_that_somebody_has_asked_to_cancel_are_known_to_who_holds_them(broker: Broker) -> None:
    broker.send([job(), job()])
    claims = claim_all(broker)
    control.cancel([claims[0].job.id], broker)
    assert (broker.cancelled(ME), broker.cancelled(OTHER)) == ({claims[0].job.id}, set())
    ((orphan, _),) = [each for each in broker.orphans(HEIR, ME)[ME] if each[0].job.id == claims[0].job.id]
    assert orphan.verdict == State.CANCELLED


def test_what_somebody_has_cancelled_before_it_goes_back_is_claimed_with_the_verdict(broker: Broker) -> None:
    broker.send([job()])
    (claim,) = claim_all(broker)
    control.cancel([claim.job.id], broker)
    broker.settle([Released(claim, began=True)], ME)
    (again,) = claim_all(broker)
    assert again.verdict == State.CANCELLED


def test_a_broker_that_was_closed_goes_on(broker: Broker) -> None:
    broker.send([job()])
    broker.close()
    assert len(claim_all(broker)) == 1


def test_a_live_job_is_found_by_its_id(broker: Broker) -> None:
    running, ready, later, ended = (
        job(queue_name="mail"),
        job(headers='{"metadata":{"a":1}}', priority=3),
        job(run_after=LATER),
        job(queue_name="ended"),
    )
    broker.send([running, ready, later, ended])
    broker.claim(["mail"], 1, ME)
    broker.settle([Succeeded(claim, 0, 1, "1") for claim in claim_all(broker, "ended")], ME)
    wanted = [running.id, later.id, ended.id, new_id()] + [ready.id] * broker.finds_waiting

    found = broker.find(wanted)

    assert found.keys() == set(wanted) - {ended.id, wanted[3]}
    assert (found[running.id].state, found[running.id].worker_id) == (State.RUNNING, ME)
    assert found[later.id].state is State.SCHEDULED
    if broker.finds_waiting:
        job_, state, worker_id = found[ready.id]
        assert (state, worker_id) == (State.READY, "")
        assert (job_.payload, job_.headers, job_.priority) == (ready.payload, ready.headers, 3)
    assert broker_for("other", BackendOptions()).find(wanted) == {}


def test_a_job_is_read_wherever_it_waits_or_runs(broker: Broker) -> None:
    sent = job(headers='{"metadata":{"a":1}}')
    moment = broker.send([sent])
    if broker.finds_waiting:
        result = read(broker, sent.id)
        assert (result.state, result.args, result.metadata, result.worker_ids) == (State.READY, [1], {"a": 1}, [])
        assert abs(result.enqueued_at - moment) < timedelta(milliseconds=1)
    claim_all(broker)
    assert (read(broker, sent.id).state, read(broker, sent.id).worker_ids) == (State.RUNNING, [ME])


def test_a_job_that_must_wait_in_the_store_is_claimed_as_any_other(broker: Broker) -> None:
    jobs = [job(), job()]
    broker.send(jobs, in_store=True)
    assert states(broker, [each.id for each in jobs]) == [State.READY] * 2
    assert {claim.job.id for claim in claim_all(broker)} == {each.id for each in jobs}


def test_what_waits_in_the_store_is_cancelled_at_once(broker: Broker) -> None:
    ready, later = job(), job(run_after=LATER)
    broker.send([ready, later], in_store=True)

    done = broker.cancel([ready.id, later.id], "no more")

    assert done == Cancelled(ended=frozenset([ready.id, later.id]))
    assert [(read(broker, id_).state, read(broker, id_).reason) for id_ in (ready.id, later.id)] == [
        (State.CANCELLED, "no more")
    ] * 2
    assert claim_all(broker) == []


def test_what_waits_anywhere_is_cancelled_before_it_runs(broker: Broker) -> None:
    sent, other = job(), job()
    broker.send([sent, other])

    done = broker.cancel([sent.id], "no more")

    assert sent.id in done.ended | done.asked
    claims = {claim.job.id: claim for claim in claim_all(broker)}
    assert claims[other.id].verdict == ""
    assert (sent.id in claims) == (sent.id in done.asked)
    if sent.id in claims:
        assert claims[sent.id].verdict == State.CANCELLED
        broker.settle([Discarded(claims[sent.id], 0, 0, State.CANCELLED, "no more")], ME)
    assert (read(broker, sent.id).state, read(broker, sent.id).reason) == (State.CANCELLED, "no more")
    assert claim_all(broker) == []


def test_cancel_says_what_came_of_each(broker: Broker) -> None:
    running, ended, theirs, unknown = job(), job(queue_name="ended"), job(backend="other"), new_id()
    broker.send([running, ended])
    broker_for("other", BackendOptions()).send([theirs])
    broker.settle([Succeeded(claim, 0, 1, "1") for claim in claim_all(broker, "ended")], ME)
    claim_all(broker)

    done = broker.cancel([running.id, ended.id, theirs.id, unknown], "")

    assert (done.ended, done.asked, done.ended_before) == (set(), {running.id}, {ended.id})
    if broker.finds_waiting:
        assert done.unknown == {theirs.id, unknown}
    assert read(broker, running.id).state is State.RUNNING
    assert read(broker, theirs.id).state is State.READY
    assert broker.cancelled(ME) == {running.id}


def test_what_was_cancelled_and_retried_by_hand_runs(broker: Broker) -> None:
    sent = job(run_after=LATER)
    broker.send([sent])
    broker.cancel([sent.id], "")
    assert control.retry([sent.id], broker) == {sent.id}
    (claim,) = claim_all(broker)
    assert (claim.job.id, claim.verdict) == (sent.id, "")
    assert broker.cancelled(ME) == set()


def test_a_job_that_waits_for_its_time_runs_now_when_somebody_says_so(broker: Broker) -> None:
    later, other = job(run_after=LATER), job(run_after=LATER)
    broker.send([later, other])

    assert control.reschedule([later.id, later.id.upper(), "nonsense", new_id()], broker) == {later.id}

    assert [claim.job.id for claim in claim_all(broker)] == [later.id]
    assert read(broker, other.id).state is State.SCHEDULED


def test_a_retry_need_not_wait_when_somebody_says_so(broker: Broker) -> None:
    sent = job()
    broker.send([sent])
    broker.settle([Retried(claim, 0, 1, FAILURE, delay=3600) for claim in claim_all(broker)], ME)
    assert control.reschedule([sent.id], broker) == {sent.id}
    (claim,) = claim_all(broker)
    assert (claim.job.id, claim.attempt) == (sent.id, 2)


def test_a_ready_job_of_the_store_can_be_put_off(broker: Broker) -> None:
    sent = job()
    broker.send([sent], in_store=True)

    assert control.reschedule([sent.id], broker, LATER) == {sent.id}

    assert claim_all(broker) == []
    assert (read(broker, sent.id).state, read(broker, sent.id).task.run_after) == (State.SCHEDULED, LATER)


@pytest.mark.parametrize("due", [None, LONG_AGO], ids=["now", "long ago"])
def test_what_is_ready_keeps_its_place_when_it_shall_run_now(broker: Broker, due: datetime | None) -> None:
    first, second = job(), job()
    broker.send([first], in_store=True)
    broker.send([second], in_store=True)
    assert control.reschedule([first.id], broker, due) == set()
    assert [claim.job.id for claim in claim_all(broker)] == [first.id, second.id]


def test_what_runs_or_has_ended_or_is_anothers_is_not_rescheduled(broker: Broker) -> None:
    running, ended, theirs = job(), job(queue_name="ended"), job(backend="other", run_after=LATER)
    broker.send([running, ended])
    broker_for("other", BackendOptions()).send([theirs])
    broker.settle([Succeeded(claim, 0, 1, "1") for claim in claim_all(broker, "ended")], ME)
    claim_all(broker)

    for due in (None, LATER):
        assert control.reschedule([running.id, ended.id, theirs.id], broker, due) == set()

    states = [read(broker, each.id).state for each in (running, ended, theirs)]
    assert states == [State.RUNNING, State.SUCCESSFUL, State.SCHEDULED]


def test_when_a_job_expires_moves_with_its_time(broker: Broker) -> None:
    patient, hasty = job(run_after=LONG_AGO, expires_us=1), job(run_after=LATER, expires_us=1)
    broker.send([patient, hasty], in_store=True)
    control.reschedule([patient.id], broker, LATER)
    control.reschedule([hasty.id], broker)
    verdicts = {claim.job.id: claim.verdict for claim in claim_all(broker)}
    assert verdicts == {hasty.id: State.EXPIRED}
    claim = broker.take(patient.id, ME)
    assert claim is not None
    assert claim.verdict == ""


def test_a_bell_rings_for_what_shall_run_now(broker: Broker) -> None:
    sent = job(run_after=LATER)
    broker.send([sent])

    def now_and_later() -> None:
        control.reschedule([sent.id], broker)
        control.reschedule([sent.id], broker, LATER)

    assert rings(broker, now_and_later)


def test_depth_tells_how_many_jobs_each_queue_has(broker: Broker) -> None:
    assert broker.depth() == []
    broker.send([job(queue_name="mail"), job(queue_name="mail"), job(queue_name="mail", run_after=LATER)])
    broker.send([job(queue_name="b"), job(queue_name="a", run_after=LATER)])
    broker_for("other", BackendOptions()).send([job(backend="other")])
    broker.claim(["mail"], 1, ME)
    control.pause("b", broker)

    a, b, mail = broker.depth()

    assert (a.queue_name, a.ready, a.scheduled, a.running, a.oldest) == ("a", 0, 1, 0, None)
    assert (b.queue_name, b.ready, b.scheduled, b.running) == ("b", 1, 0, 0)
    assert (mail.queue_name, mail.ready, mail.scheduled, mail.running) == ("mail", 1, 1, 1)
    assert 0 <= (mail.oldest or 0) < 60


def test_what_is_in_the_store_is_told_alone_to_who_asks_so(broker: Broker) -> None:
    broker.send([job()], in_store=True)
    broker.send([job()])
    in_store = 2 if broker.outside is None else 1

    (depth,) = broker.depth(in_store=True)
    claim_all(broker)
    held = broker.orphans(HEIR, ME, in_store=True)[ME]

    assert (depth.ready, len(held)) == (in_store, in_store)
    assert len(broker.orphans(HEIR, ME)[ME]) == 2


def test_what_a_process_holds_can_be_seen(broker: Broker) -> None:
    broker.send([job() for _ in range(5)])
    first, second = broker.claim(["default"], 2, ME)
    (third,) = broker.claim(["default"], 1, OTHER)
    began = datetime.now(UTC).timestamp()

    held = {found.job.id: found for found in broker.held([ME, OTHER, "gone"], 10)}

    assert {id_: found.worker_id for id_, found in held.items()} == {
        first.job.id: ME,
        second.job.id: ME,
        third.job.id: OTHER,
    }
    assert {found.state for found in held.values()} == {State.RUNNING}
    assert all(abs(found.job.started_at - began) < 60 for found in held.values())
    assert len(broker.held([ME, OTHER], 2)) == 2
    assert [found.job.id for found in broker.held([OTHER], 10)] == [third.job.id]
    assert broker.held([], 10) == []
    broker.settle([Succeeded(third, 0.0, 0.1, None)], OTHER)
    assert broker.held([OTHER], 10) == []


def test_peek_shows_what_would_be_claimed_next_and_changes_nothing(broker: Broker) -> None:
    jobs = [job(priority=priority, headers='{"a":1}') for priority in (0, 5, 0, -5)]
    for each in jobs:
        broker.send([each])
    broker.send([job(run_after=LATER), job(queue_name="mail")])
    control.pause("default", broker)

    seen = broker.peek("default", 3)

    assert [each.id for each in seen] == [jobs[n].id for n in (1, 0, 2)]
    assert [(each.payload, each.headers, each.priority) for each in seen[:1]] == [("[[1],{}]", '{"a":1}', 5)]
    assert len(broker.peek("default", 100)) == 4
    assert broker.peek("nothing", 3) == []
    assert [claim.job.id for claim in broker.claim(["default"], 3, ME)] == [each.id for each in seen]


def test_purge_removes_what_has_not_begun(broker: Broker) -> None:
    gone = [job(queue_name="mail"), job(queue_name="mail", run_after=LATER)]
    running, other = job(queue_name="mail"), job()
    broker.send([running])
    (claim,) = claim_all(broker, "mail")
    broker.send([*gone, other])
    broker.send([job(queue_name="mail") for _ in range(600)])

    assert broker.purge("mail") == 602

    assert states(broker, [each.id for each in gone]) == []
    assert claim_all(broker, "mail") == []
    assert broker.settle([Succeeded(claim, 0, 1, "1")], ME)
    assert [claim.job.id for claim in claim_all(broker)] == [other.id]
    assert broker.purge("mail") == 0


def test_a_broker_says_where_its_jobs_wait(broker: Broker) -> None:
    before = broker.describe()
    broker.send([job()])
    assert before
    assert "\n" not in before + broker.describe()

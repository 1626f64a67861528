"""Any order of steps, with a crash between any two: the invariants of docs/explanation/states.rst hold.

The machine knows what each worker believes to hold. A crash forgets it; a late worker still believes it.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from taskq_django import control
from taskq_django.brokers.base import Broker
from taskq_django.compat import task_backends
from taskq_django.jobs import Claim, Discarded, Failed, Failure, Outcome, Released, Retried, Succeeded
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.worker.maintenance import GONE
from taskq_django.worker.rescue import MOST_CRASHES, Death, rescue, settle_dead
from tests.app import tasks

WORKERS = ("w1", "w2", "w3")
FAILURE = Failure("builtins.ValueError", "no", "")


def ending(claim: Claim, how: str) -> Outcome:
    match how:
        case "success":
            return Succeeded(claim, 0.0, 0.0, "1")
        case "failure":
            return Failed(claim, 0.0, 0.0, FAILURE)
        case "retry":
            return Retried(claim, 0.0, 0.0, FAILURE, 0.0)
        case "discard":
            return Discarded(claim, 0.0, 0.0, State.CANCELLED, "no")
        case "return":
            return Released(claim, began=False)
    return Released(claim, began=True)


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.broker: Broker = task_backends["default"].broker  # type: ignore[attr-defined]
        self.ids: set[str] = set()
        self.believed: dict[str, list[Claim]] = {worker: [] for worker in WORKERS}
        self.final: dict[str, tuple[Any, ...]] = {}
        self.attempts: dict[str, int] = {}

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @rule(count=st.integers(1, 3))
    def enqueue(self, count: int) -> None:
        self.ids |= {result.id for result in tasks.add.enqueue_many([(n,) for n in range(count)])}

    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> None:
        claims = self.broker.claim(["default"], limit, worker)
        assert len({claim.receipt for claim in claims}) <= 1
        for claim in claims:
            assert claim.attempt >= self.attempts.get(claim.job.id, 0), "a start that counted is never taken back"
            self.final.pop(claim.job.id, None)
        self.believed[worker] += claims

    @rule(
        worker=st.sampled_from(WORKERS),
        how=st.sampled_from(["success", "failure", "retry", "discard", "return", "cut off"]),
        keeps_believing=st.booleans(),
    )
    def settle(self, worker: str, how: str, keeps_believing: bool) -> None:
        """``keeps_believing``: the answer is lost, so that it will settle again."""
        for claim in self.believed[worker]:
            row = QueuedJob.objects.filter(id=claim.job.id, status=State.RUNNING).first()
            holds = row is not None and row.token is not None and row.token.hex == claim.receipt.replace("-", "")
            counted = self.broker.settle([ending(claim, how)], worker)
            assert bool(counted) == holds, "the token decides, and nothing else"
            if counted and how != "return":
                self.attempts[claim.job.id] = claim.attempt
        if not keeps_believing:
            self.believed[worker] = []

    @rule(worker=st.sampled_from(WORKERS))
    def forget(self, worker: str) -> None:
        """Its process dies; nobody has noticed yet."""
        self.believed[worker] = []

    @rule(worker=st.sampled_from(WORKERS), begun=st.booleans(), still_there=st.booleans())
    def rescue_process(self, worker: str, begun: bool, still_there: bool) -> None:
        """``still_there``: it only seemed dead, and goes on believing."""
        held = {str(id_) for id_ in QueuedJob.objects.filter(worker_id=worker).values_list("id", flat=True)}
        rescue(self.broker, worker, Death(cause="signal SIGKILL", begun=held if begun else ()), "heir")
        assert not QueuedJob.objects.filter(worker_id=worker).exists()
        if not still_there:
            self.believed[worker] = []

    @rule()
    def rescue_orphans(self) -> None:
        for worker, held in self.broker.orphans("heir").items():
            settle_dead(self.broker, worker, held, GONE)
        assert not QueuedJob.objects.filter(status=State.RUNNING).exists(), "none of them is registered"

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.ids)))
        done = control.cancel([id_], self.broker)
        assert (id_ in done.ended_before) == JobResult.objects.filter(id=id_).exclude(id__in=done.ended).exists()
        assert not done.unknown

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.ids)))
        row = JobResult.objects.filter(id=id_).first()
        again = control.retry([id_], self.broker)
        assert bool(again) == (row is not None and row.status != State.SUCCESSFUL)
        if again:
            self.final.pop(id_, None)

    @rule()
    def promote(self) -> None:
        self.broker.promote()

    @invariant()
    def every_job_is_in_exactly_one_table(self) -> None:
        live = [str(id_) for id_ in QueuedJob.objects.values_list("id", flat=True)]
        ended = [str(id_) for id_ in JobResult.objects.values_list("id", flat=True)]
        assert sorted(live + ended) == sorted(self.ids)

    @invariant()
    def running_means_claimed(self) -> None:
        for row in QueuedJob.objects.all():
            claimed = (row.token, row.worker_id, row.claimed_at)
            assert all(claimed) if row.status == State.RUNNING else not any(claimed)
            assert row.crashes < MOST_CRASHES

    @invariant()
    def what_has_ended_does_not_change(self) -> None:
        for row in JobResult.objects.all():
            story = (row.status, row.attempts, row.finished_at, row.worker_id, row.return_value, row.message)
            assert self.final.setdefault(str(row.id), story) == story

    @invariant()
    def an_attempt_has_one_end_at_most(self) -> None:
        keys = list(JobAttempt.objects.values_list("job_id", "number"))
        assert len(keys) == len(set(keys))


@pytest.mark.django_db(transaction=True)
def test_any_order_of_steps_keeps_the_invariants() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Life,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )

"""A message broker, any order of steps, with faults and deaths between any two calls: no job is lost or in two places.

The machine knows what was truly written, and what each process believes. As tests/brokers/test_state_machine.py does,
for jobs that an engine carries. With TASKQ_TEST_LONG=1 it looks at forty times as many orders.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from taskq_django import control
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.messages.broker import MessageBroker
from taskq_django.brokers.messages.memory import MemoryTransport
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.jobs import Claim, Discarded, Failed, Outcome, Released, Retried, Succeeded
from taskq_django.models import CancelWish, JobAttempt, JobResult, QueuedJob, WorkerProcess
from taskq_django.states import State
from taskq_django.worker.maintenance import GONE
from taskq_django.worker.rescue import rescue, settle_dead
from tests.support.fallible import Killed, Process
from tests.support.faulty_engine import without_pauses
from tests.support.messages import register
from tests.support.sending import FAILURE, job

pytestmark = pytest.mark.thorough

NAMES = ("w1", "w2", "heir")
OFTEN = ["claim", "begin", "settle", "settle what is held", "ten seconds pass", "rescue a child", "rescue the lost"]
SELDOM = ["enqueue", "look", "give_back", "kill", "count_as_lost", "replace", "kill the heir", "cancel", "retry"]
MOVES = [*OFTEN, *OFTEN, *SELDOM]
KINDS = st.sampled_from(["ok", "retry", "fails", "silent"])
FAULTS = st.none() | st.tuples(
    st.sampled_from(["engine", "store"]),
    st.sampled_from(["no answer", "killed", "killed after it", "away"]),
    st.integers(1, 4),
)
UNHEARD = [None, ("engine", "no answer", 1), ("engine", "killed after it", 1), ("store", "killed", 2)]
TABLES = (QueuedJob, JobResult, JobAttempt, CancelWish, WorkerProcess)


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        for table in TABLES:
            table.objects.all().delete()
        self.engine = MemoryTransport()
        self.console = MessageBroker("default", DatabaseBroker("default"), self.engine, has_outbox=True)
        self.kinds: dict[str, str] = {}
        self.sent: set[str] = set()  # ids of jobs that must not be lost
        self.ended: set[tuple[str, int]] = set()  # attempts whose end was committed
        self.silent: set[str] = set()  # ids of jobs that have ended, and left no result
        self.results: dict[str, int] = {}  # attempts
        self.count = 0
        self.processes = {name: self._new(name) for name in NAMES}
        self.graves: list[Process] = []  # of those that are dead, and not rescued
        self.is_rescuing = False  # Has the rescue of the first one begun, so that what it held may have been inherited?

    def _new(self, name: str) -> Process:
        self.count += 1
        id_ = f"host/{name}-{self.count}"
        register(id_)
        return Process(id_, self.engine, self.note)

    def note(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            id_ = outcome.claim.job.id
            if not getattr(outcome, "began", True) or isinstance(outcome, Released):
                continue
            if getattr(outcome, "counts", "") == "losses":
                continue
            self.ended.add((id_, outcome.claim.attempt))
            if isinstance(outcome, Succeeded) and outcome.value is None:
                self.silent.add(id_)

    def _bury_the_dead(self) -> None:
        for name, process in self.processes.items():
            if process.is_dead:
                self.graves.append(process)
                self.processes[name] = self._new(name)

    @rule(
        move=st.sampled_from(MOVES),
        name=st.sampled_from(NAMES[:2]),
        fault=FAULTS,
        kind=KINDS,
        count=st.integers(1, 2),
        is_within=st.booleans(),
        outbox=st.booleans(),
        of=st.integers(0, 9),
    )
    def step(
        self, move: str, name: str, fault: Any, kind: str, count: int, is_within: bool, outbox: bool, of: int
    ) -> None:
        """One rule for all, because Hypothesis leaves out half of the rules in each example."""
        match move:
            case "enqueue":
                self.enqueue(kind, count, is_within, outbox, fault)
            case "claim" | "begin" | "settle":
                self.work(name, count, fault, move)
            case "settle what is held":
                self.begin(name)
                self.settle(name, fault)
            case "rescue a child" if self.graves:
                self.rescue_a_child(fault)
            case "rescue the lost":
                self.rescue_the_lost(fault)
            case "kill the heir":
                self.kill("heir")
            case "cancel" | "retry" if self.sent:
                getattr(self, move)(sorted(self.sent)[of % len(self.sent)])
            case "ten seconds pass":
                self.ten_seconds_pass()
            case "look" | "give_back" | "kill" | "count_as_lost" | "replace":
                getattr(self, move)(name)

    # --- the producer -----------------------------------------------------------------------------------------------

    @initialize(kind=KINDS, fault=st.sampled_from(UNHEARD))
    def enqueue_one(self, kind: str, fault: Any) -> None:
        """Mostly so that its row and its message are both there."""
        self.enqueue(kind, 1, True, True, fault)
        self.ten_seconds_pass()

    def enqueue(self, kind: str, count: int, is_within: bool, outbox: bool, fault: Any) -> None:
        process = Process("producer", self.engine, self.note, has_outbox=outbox)
        if fault:
            process.fuse.set(*fault)
        broker = process.broker
        jobs = [job() for _ in range(count)]
        self.kinds |= dict.fromkeys([each.id for each in jobs], kind)
        is_sure = outbox and is_within
        with suppress(BrokerUnavailable, Killed):
            if is_within:
                with transaction.atomic():
                    broker.send(jobs)
            else:
                broker.send(jobs)
            is_sure = True
        if is_sure:
            self.sent |= {each.id for each in jobs}

    def ten_seconds_pass(self) -> None:
        QueuedJob.objects.filter(status=State.SCHEDULED).update(status=State.READY)

    # --- the workers ------------------------------------------------------------------------------------------------

    def _may_fail(self, name: str, fault: Any) -> None:
        if fault:
            self.processes[name].fuse.set(*fault)

    def work(self, name: str, limit: int, fault: Any, far: str) -> None:
        self._may_fail(name, fault)
        self.processes[name].claim(limit)
        self._bury_the_dead()
        if far != "claim":
            self.begin(name)
        if far == "settle":
            self.settle(name, None)

    def look(self, name: str) -> None:
        process = self.processes[name]
        process.attempt(process.broker.ready_queues)
        self._bury_the_dead()

    def begin(self, name: str) -> None:
        process = self.processes[name]
        for id_, claim in process.held.items():
            if process.is_late or id_ in process.begun:
                continue
            if self.kinds[id_] != "silent" and not claim.verdict:
                assert (id_, claim.attempt) not in self.ended, "begun again after its end was committed"
                assert not JobResult.objects.filter(id=id_).exists(), "begun although it has a result"
            process.begun.add(id_)

    def settle(self, name: str, fault: Any) -> None:
        self._may_fail(name, fault)
        process = self.processes[name]
        for id_ in process.begun:
            process.over.setdefault(id_, self._ending(process.held[id_]))
        process.settle(list(process.over.values()))
        self._bury_the_dead()

    def _ending(self, claim: Claim) -> Outcome:
        if claim.verdict:
            return Discarded(claim, 0.0, 0.0, State(claim.verdict), claim.reason, began=False)
        match self.kinds[claim.job.id]:
            case "retry" if claim.attempt == 1:
                return Retried(claim, 0.0, 0.0, FAILURE, 0.0)
            case "fails":
                return Failed(claim, 0.0, 0.0, FAILURE)
            case "silent":
                return Succeeded(claim, 0.0, 0.0, None)
        return Succeeded(claim, 0.0, 0.0, "1")

    def give_back(self, name: str) -> None:
        self.processes[name].give_back()
        self._bury_the_dead()

    # --- deaths -----------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        self.processes[name].is_dead = True
        self._bury_the_dead()

    def count_as_lost(self, name: str) -> None:
        """It lives, and wakes too late."""
        process = self.processes[name]
        process.is_late = True
        WorkerProcess.objects.filter(id=process.id).delete()

    def rescue_a_child(self, fault: Any) -> None:
        self._may_fail("heir", fault)
        grave, heir = self.graves[0], self.processes["heir"]
        is_done = heir.attempt(lambda: rescue(heir.broker, grave.id, grave.death(), heir.id)) is not None
        self.is_rescuing = not is_done and not heir.is_dead
        if is_done:
            self.graves.pop(0)
            WorkerProcess.objects.filter(id=grave.id).delete()
        self._bury_the_dead()

    def rescue_the_lost(self, fault: Any) -> None:
        """By maintenance, which knows nothing of what they ran. Its supervisor does not give up a rescue before."""
        if self.is_rescuing:
            self.rescue_a_child(fault)
            if self.is_rescuing:
                return
        self._may_fail("heir", fault)
        WorkerProcess.objects.filter(id__in=[grave.id for grave in self.graves]).delete()
        self.graves.clear()
        heir = self.processes["heir"]

        def settle_all() -> None:
            for dead, held in heir.broker.orphans(heir.id).items():
                settle_dead(heir.broker, dead, held, GONE)

        heir.attempt(settle_all)
        self._bury_the_dead()

    def replace(self, name: str) -> None:
        """It ends by itself, when it has given back and settled what it could."""
        self.give_back(name)
        self.settle(name, None)
        self.kill(name)

    # --- people -----------------------------------------------------------------------------------------------------

    def cancel(self, id_: str) -> None:
        done = control.cancel([id_], self.console)
        assert not done.unknown or id_ in self.silent

    def retry(self, id_: str) -> None:
        if control.retry([id_], self.console):
            self.results.pop(id_, None)
            assert not CancelWish.objects.filter(job_id=id_).exists()

    # --- what holds always ------------------------------------------------------------------------------------------

    @invariant()
    def no_job_is_lost_and_none_waits_in_two_places(self) -> None:
        rows = {str(row.id): row for row in QueuedJob.objects.all()}
        results = {str(id_) for id_ in JobResult.objects.values_list("id", flat=True)}
        messages = self.engine.find(list(self.kinds))
        for id_ in self.sent:
            assert id_ in rows or id_ in results or id_ in messages or id_ in self.silent, "lost"
        for id_, message in messages.items():
            row = rows.get(id_)
            if message.state is State.READY and self.kinds[id_] != "silent":
                assert id_ not in results, "it has ended, and waits"
                assert row is None or row.sender is not None, "it waits twice"
        for id_ in rows.keys() & results:
            assert rows[id_].sender is not None or self.kinds[id_] == "silent", "it has ended, and is a job"

    @invariant()
    def no_result_gives_way_to_one_of_fewer_attempts(self) -> None:
        for id_, attempts in JobResult.objects.values_list("id", "attempts"):
            assert attempts >= self.results.get(str(id_), 0)
            self.results[str(id_)] = attempts

    def teardown(self) -> None:
        """All goes well from here on: everything ends, and nothing is left."""
        for process in self.processes.values():
            process.fuse.clear()
        for name in NAMES[:2]:
            if self.processes[name].is_late:
                self.replace(name)
        for _ in range(12):
            self.ten_seconds_pass()
            self.rescue_the_lost(None)
            for name in NAMES[:2]:
                for step in (self.look, self.give_back):
                    step(name)
                self.processes[name].claim(100)
                self.begin(name)
                self.settle(name, None)
        self.no_job_is_lost_and_none_waits_in_two_places()
        self.no_result_gives_way_to_one_of_fewer_attempts()
        assert not QueuedJob.objects.exists()
        assert self.engine.find(list(self.kinds)) == {}
        ended = {str(id_) for id_ in JobResult.objects.values_list("id", flat=True)}
        assert self.sent <= ended | self.silent


@pytest.mark.django_db(transaction=True)
def test_any_order_of_steps_and_faults_keeps_the_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    without_pauses(monkeypatch)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Life,
        settings=settings(
            max_examples=2000 if os.environ.get("TASKQ_TEST_LONG") else 50,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )

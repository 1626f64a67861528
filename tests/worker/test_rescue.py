"""What becomes of what a dead process held: decided by pure functions, written under the token that was seen."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_django import Backoff
from taskq_django.brokers.base import Broker
from taskq_django.compat import task_backends
from taskq_django.jobs import Claim, Discarded, Failed, Job, Released, Retried, Succeeded
from taskq_django.models import JobResult, QueuedJob, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.states import State
from taskq_django.worker.maintenance import GONE
from taskq_django.worker.rescue import Death, outcome_of, rescue, settle_dead
from tests.app import tasks


def claim_of(task: Any, **facts: Any) -> Claim:
    counters = {name: facts.pop(name) for name in ("tries", "crashes", "losses") if name in facts}
    job = Job("id", task.module_path, "[[],{}]", "default", "default", attempts=1, **counters)
    return Claim(job, "token", 0.0, **facts)


KILLED = Death(cause="signal SIGKILL", begun={"id"})
OVER = Death(cause="signal SIGKILL", begun=set(), over={"id"})


@pytest.mark.parametrize(
    ("claim", "death", "kind", "facts"),
    [
        (claim_of(tasks.add), Death(cause="x", begun=set()), Released, {"began": False}),
        (claim_of(tasks.add), KILLED, Retried, {"counts": "crashes", "delay": 0.0}),
        (claim_of(tasks.add, crashes=1), KILLED, Retried, {"counts": "crashes"}),
        (claim_of(tasks.add, crashes=2), KILLED, Failed, {"counts": "crashes"}),
        (claim_of(tasks.die_once), KILLED, Failed, {"counts": "crashes"}),
        (claim_of(tasks.add), GONE, Retried, {"counts": "losses"}),
        (claim_of(tasks.add, crashes=2), GONE, Retried, {"counts": "losses"}),
        (claim_of(tasks.add, losses=8), GONE, Retried, {"counts": "losses"}),
        (claim_of(tasks.add, losses=9), GONE, Failed, {"counts": "losses"}),
        # Only the store knows of a lost host what had begun, and only of tasks that must not begin twice.
        (claim_of(tasks.die_once), GONE, Released, {"began": False}),
        (claim_of(tasks.die_once, has_begun=True), GONE, Failed, {"counts": "losses"}),
        (claim_of(tasks.die_once), Death(cause="x", begun=set()), Released, {"began": False}),
        # Its run was over: it is not to blame, and must not run twice where it may not.
        (claim_of(tasks.add), OVER, Retried, {"counts": "losses", "delay": 0.0}),
        (claim_of(tasks.add, crashes=2), OVER, Retried, {"counts": "losses"}),
        (claim_of(tasks.add, losses=9), OVER, Failed, {"counts": "losses"}),
        (claim_of(tasks.die_once), OVER, Failed, {"counts": "losses"}),
        (claim_of(tasks.add), Death(cause="x", begun=set(), over={"id"}, is_ours=True), Released, {"began": True}),
        # Asked to stop, it did not end in time.
        (claim_of(tasks.die_once), Death(cause="x", begun={"id"}, is_ours=True), Failed, {"counts": "crashes"}),
        (claim_of(tasks.add, verdict="CANCELLED"), KILLED, Discarded, {"state": State.CANCELLED}),
        (claim_of(tasks.add, verdict="CANCELLED"), Death(cause="x", begun=set()), Released, {"began": False}),
        (claim_of(tasks.add), Death(cause="x", begun={"id"}, is_ours=True), Released, {"began": True}),
        (
            claim_of(tasks.add),
            Death(cause="x", begun={"id"}, is_ours=True, overdue={"id"}),
            Failed,
            {"counts": "tries"},
        ),
        (
            claim_of(tasks.sleep_through),
            Death(cause="x", begun={"id"}, is_ours=True, overdue={"id"}),
            Retried,
            {"counts": "tries", "delay": 0.0},
        ),
        (
            claim_of(tasks.sleep_through, tries=1),
            Death(cause="x", begun={"id"}, is_ours=True, overdue={"id"}),
            Failed,
            {"counts": "tries"},
        ),
    ],
)
def test_a_death_has_one_outcome_for_each_job(claim: Claim, death: Death, kind: type, facts: dict[str, Any]) -> None:
    outcome = outcome_of(claim, 1.0, death)
    assert type(outcome) is kind
    assert {name: getattr(outcome, name) for name in facts} == facts


def test_a_task_that_is_not_known_here_runs_again() -> None:
    claim = claim_of(tasks.add)
    unknown = claim._replace(job=claim.job._replace(task_path="gone.away.task"))
    assert isinstance(outcome_of(unknown, 0.0, KILLED), Retried)


def test_what_the_store_knows_to_have_begun_fails_whatever_is_known_of_its_task() -> None:
    claim = claim_of(tasks.add, has_begun=True)
    unknown = claim._replace(job=claim.job._replace(task_path="gone.away.task"))
    for death in (KILLED, OVER, GONE):
        assert isinstance(outcome_of(unknown, 0.0, death), Failed)


@pytest.fixture
def broker() -> Broker:
    return task_backends["default"].broker  # type: ignore[attr-defined,no-any-return]


@pytest.mark.django_db
def test_a_rescue_settles_all_that_the_dead_held_and_nothing_else(broker: Broker) -> None:
    results = tasks.add.enqueue_many([(n,) for n in range(5)])
    mine, theirs = broker.claim(["default"], 3, "dead"), broker.claim(["default"], 2, "alive")
    death = Death(cause="signal SIGKILL", begun={mine[0].job.id})

    assert rescue(broker, "dead", death, "heir") == 3

    rows = {str(row.id): (row.status, row.attempts, row.crashes) for row in QueuedJob.objects.all()}
    assert rows == {
        mine[0].job.id: ("READY", 1, 1),
        mine[1].job.id: ("READY", 0, 0),
        mine[2].job.id: ("READY", 0, 0),
        theirs[0].job.id: ("RUNNING", 1, 0),
        theirs[1].job.id: ("RUNNING", 1, 0),
    }
    first = results[0]
    first.refresh()
    assert (first.errors[0].exception_class_path, first.worker_ids) == (
        "taskq_django.exceptions.WorkerLost",
        ["dead"],
    )
    # The dead one comes back to life and settles: it changes nothing.
    assert broker.settle([Succeeded(claim, 0.0, 0.0, "1") for claim in mine], "dead") == []


@pytest.mark.django_db
def test_a_claim_that_has_moved_on_is_left_alone(broker: Broker) -> None:
    tasks.add.enqueue(1)
    broker.claim(["default"], 1, "dead")
    held = broker.orphans("heir", "dead")["dead"]
    assert settle_dead(broker, "dead", held, KILLED) == 1
    (again,) = broker.claim(["default"], 1, "other")

    assert settle_dead(broker, "dead", held, GONE) == 0

    assert broker.settle([Succeeded(again, 0.0, 0.0, "3")], "other") != []
    assert JobResult.objects.get().crashes == 0


@pytest.mark.django_db
def test_an_orphan_is_what_nobody_registered_holds(broker: Broker) -> None:
    tasks.add.enqueue_many([(n,) for n in range(3)])
    WorkerProcess.objects.create(id="alive", name="a", host="h", pid=1, started_at=DatabaseNow(), seen_at=DatabaseNow())
    broker.claim(["default"], 1, "alive")
    (orphan,) = broker.claim(["default"], 1, "gone")

    found = broker.orphans("heir")

    assert {worker: [claim.job.id for claim, _ in held] for worker, held in found.items()} == {"gone": [orphan.job.id]}
    ((claim, age),) = found["gone"]
    assert claim.receipt.replace("-", "") == orphan.receipt
    assert 0 <= age < 60
    assert claim.attempt == 1


def test_the_backoff_of_a_run_that_froze_its_process_is_the_tasks() -> None:
    assert tasks.sleep_through.backoff == Backoff(first=0, jitter=False)

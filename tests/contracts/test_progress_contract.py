"""How far a job is, on every broker: what its task says is seen outside while it runs, and kept with its result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_django.brokers import Broker
from taskq_django.handles import read_results
from taskq_django.jobs import Claim, Progress
from taskq_django.states import State
from taskq_django.testing import run_all
from taskq_django.worker.lease import Lease
from tests.app import tasks
from tests.support.sending import job

pytestmark = pytest.mark.django_db(transaction=True)

ME = "worker-1"


@pytest.fixture(autouse=True)
def members(transactional_db: None) -> None:
    lease = Lease("tests", "default", every=60, lasts=180, described={})
    lease.register("supervisor")
    lease.enrol({ME: 1})


@pytest.fixture
def claim(broker: Broker) -> Claim:
    broker.send([job()])
    [claim] = broker.claim(["default"], 1, ME)
    return claim


def attempt(claim: Claim, number: int) -> Claim:
    return claim._replace(job=claim.job._replace(attempts=number))


def said_of(claim: Claim, broker: Broker) -> tuple[Any, ...] | None:
    progress = read_results([claim.job.id], broker)[claim.job.id].progress
    return progress and (progress.done, progress.total, progress.text)


@pytest.mark.parametrize("waits", [True, False], ids=["waits", "waits not"])
def test_what_a_job_says_last_is_seen_while_it_runs(broker: Broker, claim: Claim, waits: bool) -> None:
    assert said_of(claim, broker) is None
    for done in (1, 2.5):
        assert broker.note_progress([(claim, Progress(done, 4, f"row {done}"))], waits=waits)

    result = read_results([claim.job.id], broker)[claim.job.id]
    assert result.state is State.RUNNING
    assert result.progress is not None
    assert (result.progress.done, result.progress.total, result.progress.text) == (2.5, 4, "row 2.5")
    assert result.progress.fraction == 0.625
    assert result.progress.updated_at is not None
    assert abs(result.progress.updated_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_many_jobs_are_written_down_at_once_and_none_of_them_for_another(broker: Broker) -> None:
    broker.send([job() for _ in range(50)])
    claims: list[Claim] = []
    while taken := broker.claim(["default"], 50, ME):
        claims += taken

    assert broker.note_progress([(each, Progress(n, 50)) for n, each in enumerate(claims)], waits=True)

    found = read_results([each.job.id for each in claims], broker)
    assert [found[each.job.id].progress.done for each in claims] == list(range(50))  # type: ignore[union-attr]


def test_a_worker_that_has_lost_its_claim_changes_nothing(broker: Broker, claim: Claim) -> None:
    assert broker.note_progress([(attempt(claim, 2), Progress(1, 9, "second"))], waits=True)
    assert broker.note_progress([(attempt(claim, 1), Progress(8, 9, "first"))], waits=True)
    assert said_of(claim, broker) == (1, 9, "second")

    assert broker.note_progress([(attempt(claim, 3), Progress(0, None, ""))], waits=True)
    assert said_of(claim, broker) == (0, None, "")


@pytest.mark.parametrize(
    "text", ["naïve ✓ 🙂", 'it\'s "quoted" \\ %s %% {}', "two\nlines\t", "<script>alert(1)</script>", "x" * 255]
)
def test_a_hostile_text_travels_unchanged(broker: Broker, claim: Claim, text: str) -> None:
    assert broker.note_progress([(claim, Progress(1, 2, text))], waits=True)
    assert said_of(claim, broker) == (1, 2, text)


@pytest.mark.parametrize("done", [0, 0.25, 2**53, 1e15], ids=["nothing", "a part", "a large one", "a float"])
def test_a_number_comes_back_as_it_was(broker: Broker, claim: Claim, done: float) -> None:
    assert broker.note_progress([(claim, Progress(done, 2**60))], waits=True)
    assert said_of(claim, broker) == (done, 2**60, "")


@pytest.mark.parametrize("task", [tasks.count_to, tasks.acount_to], ids=["thread", "coroutine"])
def test_the_last_word_of_a_run_is_there_when_its_end_is(project: Broker, task: Any) -> None:
    result = task.enqueue(7)
    assert result.progress is None
    run_all()

    assert result.get(timeout=0) == 7
    assert (result.progress.done, result.progress.total, result.progress.fraction) == (7, 7, 1.0)


def test_how_far_a_job_came_that_failed_is_kept(project: Broker) -> None:
    result = tasks.fail_at.enqueue(3, 10)
    run_all()

    result.refresh()
    assert result.state is State.FAILED
    assert result.progress is not None
    assert (result.progress.done, result.progress.text) == (4, "copying")

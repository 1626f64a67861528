"""What tasks say of their progress, on its way into the store."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskq_django import Progress, TaskContext
from taskq_django.brokers.base import Broker
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.exceptions import ArgumentError, BrokerError, BrokerUnavailable
from taskq_django.jobs import Claim
from taskq_django.models import JobProgress
from taskq_django.sleeper import Sleeper
from taskq_django.states import State
from taskq_django.testing import run_all
from taskq_django.worker import progress as module
from taskq_django.worker.progress import ProgressNotes
from taskq_django.worker.reach import Reach
from tests.app import tasks
from tests.support.holding import a_board
from tests.support.sending import job

Note = Callable[..., bool]


class Noting(DatabaseBroker):
    """Remembers each statement, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__("default")
        self.noted: list[list[tuple[str, float]]] = []
        self.answer: bool | Exception = True

    def note_progress(self, said: Sequence[tuple[Claim, Progress]], *, waits: bool) -> bool:
        self.noted.append([(claim.job.id, progress.done) for claim, progress in said])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def broker() -> Noting:
    return Noting()


@pytest.fixture
def reach(broker: Broker) -> Reach:
    return Reach({broker.alias: broker}, a_board())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of the notes on by so many seconds."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])

    def pass_(seconds: float) -> None:
        now[0] += seconds

    return pass_


def claimed(id_: str) -> Claim:
    return Claim(job(id=id_), "token", 0.0)


def test_the_first_word_is_written_at_once_and_then_the_newest_twice_a_second(
    broker: Noting, reach: Reach, clock: Callable[[float], None]
) -> None:
    notes, claim = ProgressNotes(), claimed("a")
    assert notes.next_at == math.inf
    for done in range(1, 129):  # in a second
        notes.take(claim, Progress(done, 128))
        notes.write(reach)
        clock(1 / 128)

    assert broker.noted == [[("a", 1)], [("a", 65)]]
    notes.write(reach)
    assert broker.noted[2:] == [[("a", 128)]]
    notes.write(reach)
    assert (len(broker.noted), notes.next_at) == (3, math.inf), "nothing new has been said"


def test_all_jobs_share_a_statement(broker: Noting, reach: Reach) -> None:
    notes = ProgressNotes()
    for id_ in ("a", "b", "c"):
        notes.take(claimed(id_), Progress(1))
    notes.write(reach)
    assert broker.noted == [[("a", 1), ("b", 1), ("c", 1)]]


def test_a_loop_that_sleeps_is_woken_by_the_first_word_only() -> None:
    notes, sleeper, woken = ProgressNotes(), Sleeper(), []
    sleeper.wake = lambda: woken.append(1)  # type: ignore[method-assign]
    notes.sleeper, sleeper.is_asleep = sleeper, True
    for done in range(3):
        notes.take(claimed("a"), Progress(done))
    sleeper.close()
    assert len(woken) == 1


def test_what_stood_behind_another_transaction_is_written_later_and_newer_words_before_older(
    broker: Noting, reach: Reach, clock: Callable[[float], None]
) -> None:
    notes, claim = ProgressNotes(), claimed("a")
    broker.answer = False
    notes.take(claim, Progress(1))
    notes.write(reach)
    clock(module.EVERY)
    notes.write(reach)
    assert len(broker.noted) == 1, "a try may take the loop half a second"
    notes.take(claim, Progress(2))
    broker.answer = True
    clock(module.AFTER_A_WAIT)
    notes.write(reach)
    assert broker.noted[1:] == [[("a", 2)]]


def test_what_is_said_while_the_store_is_away_is_written_when_it_answers(
    broker: Noting, reach: Reach, clock: Callable[[float], None]
) -> None:
    notes = ProgressNotes()
    broker.answer = BrokerUnavailable("away")
    notes.take(claimed("a"), Progress(1))
    notes.write(reach)
    assert not reach.is_whole
    clock(60)
    notes.write(reach)
    assert len(broker.noted) == 1, "it is not asked while it is away"

    broker.answer = True
    reach.begin_trials(all_of_them=True)
    reach.end_trials()
    clock(60)
    notes.write(reach)
    assert broker.noted[1:] == [[("a", 1)]]


@pytest.mark.django_db
def test_a_bar_costs_no_job_its_life(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def no_table(*args: Any, **more: Any) -> bool:
        raise BrokerError("The tables of taskq_django are missing.")

    monkeypatch.setattr(DatabaseBroker, "note_progress", no_table)
    result = tasks.count_to.enqueue(3)
    with caplog.at_level(logging.WARNING, "taskq_django.worker"):
        run_all()
    assert result.get(timeout=0) == 3
    assert "The tables of taskq_django are missing; the progress of 1 job is not kept" in caplog.text


@pytest.mark.django_db
def test_an_outcome_waits_for_its_store_with_the_last_word_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    note: Note = DatabaseBroker.note_progress
    left = [BrokerUnavailable("away")]

    def away_once(*args: Any, **more: Any) -> bool:
        if left:
            raise left.pop()
        return note(*args, **more)

    monkeypatch.setattr(DatabaseBroker, "note_progress", away_once)
    result = tasks.count_to.enqueue(3)
    run_all()
    assert result.get(timeout=0) == 3
    assert result.progress is not None
    assert result.progress.done == 3


@pytest.mark.django_db
def test_ten_thousand_words_are_a_few_statements_and_none_where_nobody_speaks() -> None:
    tasks.add.enqueue(1)
    with CaptureQueriesContext(connection) as silent:
        run_all()
    result = tasks.count_to.enqueue(10_000)
    with CaptureQueriesContext(connection) as loud:
        run_all()

    def about_progress(queries: CaptureQueriesContext) -> int:
        return sum(JobProgress._meta.db_table in each["sql"] for each in queries.captured_queries)

    assert about_progress(silent) == 0
    assert 1 <= about_progress(loud) <= 3
    result.refresh()
    assert result.progress is not None
    assert result.progress.done == 10_000


@pytest.mark.django_db
def test_a_snapshot_has_the_progress_of_its_moment(django_assert_num_queries: Any) -> None:
    result = tasks.count_to.enqueue(3, "counting")
    with django_assert_num_queries(1):
        assert (result.progress, result.progress) == (None, None)
    run_all()
    assert result.progress is None
    result.refresh()
    with django_assert_num_queries(1):
        assert result.progress.text == "counting"  # type: ignore[union-attr]
        assert result.progress.fraction == 1.0  # type: ignore[union-attr]


@pytest.mark.django_db(transaction=True)
def test_a_coroutine_reads_it_by_its_twin() -> None:
    result = tasks.acount_to.enqueue(3)
    run_all()

    async def read() -> Progress | None:
        with pytest.raises(SynchronousOnlyOperation, match=r"write `await ….aprogress\(…\)`"):
            _ = result.progress
        assert (await result.aprogress()) is result.progress, "what was read once is there"
        return result.progress

    assert async_to_sync(read)().done == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"done": 11, "total": 10}, r"done is 11, more than the total of 10\. Pass total=None"),
        ({"done": -1}, "done must be a finite number from 0 on, not -1"),
        ({"done": math.nan}, "done must be a finite number from 0 on, not nan"),
        ({"done": 0, "total": math.inf}, "total must be a finite number from 0 on, not inf"),
        ({"done": 10**400}, "done must be a finite number"),
        ({"done": "3"}, r"done must be a number, not '3' \(str\)"),
        ({"done": None}, "done must be a number, not None"),
        ({"done": Decimal("sNaN")}, "done must be a finite number"),
    ],
    ids=["more than all", "below 0", "NaN", "infinite", "over all floats", "text", "None", "a signaling NaN"],
)
def test_what_is_no_progress_is_refused_where_it_is_said(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ArgumentError, match=f"context.progress: {why}"):
        TaskContext(task_result=None).progress(**said)


def said_by(**said: Any) -> Progress:
    context, heard = TaskContext(task_result=None), []
    object.__setattr__(context, "_note_progress", heard.append)
    context.progress(**said)
    return heard[0]  # type: ignore[no-any-return]


def test_a_text_is_kept_as_far_as_it_can_be() -> None:
    assert said_by(done=1, text="x" * 255).text == "x" * 255
    assert said_by(done=1, text="x" * 256).text == "x" * 254 + "…"
    assert said_by(done=1, text="a\0b\ud800c").text == "ab?c"


def test_a_fraction_is_of_a_total_that_is_known() -> None:
    assert said_by(done=1).fraction is None
    assert said_by(done=1, total=4).fraction == 0.25
    assert said_by(done=0, total=0).fraction == 1.0
    assert said_by(done=Fraction(1, 2), total=Decimal(2)).fraction == 0.25


@pytest.mark.django_db
def test_a_wrong_word_fails_the_job_with_its_remedy() -> None:
    result = tasks.report.enqueue(done=3, total=2)
    run_all()
    result.refresh()
    assert result.state is State.FAILED
    assert "done is 3, more than the total of 2" in result.reason

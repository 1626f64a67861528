"""What becomes of a job, seen by the one who enqueued it; run by the worker's own loop in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.dispatch import Signal

from taskq_django import Discard, compat, signals
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.exceptions import BrokerUnavailable, ResultTimeout, TaskFailed
from taskq_django.jobs import Claim
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.ledger import Ledger

pytestmark = pytest.mark.django_db


@contextmanager
def listening(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def test_a_job_runs_and_its_value_comes_back() -> None:
    result = tasks.add.enqueue(1)
    assert (result.state, result.status) == (State.READY, "READY")

    assert run_all() == 1

    assert result.get(timeout=0) == 3
    assert (result.state, result.status, result.attempts, result.errors) == (State.SUCCESSFUL, "SUCCESSFUL", 1, [])
    assert result.enqueued_at <= result.started_at <= result.finished_at


def test_a_coroutine_runs_and_its_value_comes_back() -> None:
    result = tasks.aadd.enqueue(1, y=5)
    run_all()
    assert result.get() == 6


def test_what_enqueue_returns_equals_what_get_result_finds() -> None:
    sent = tasks.add.using(priority=3, metadata={"a": 1}).enqueue(1, y=2)
    assert tasks.add.get_result(sent.id) == sent
    later = tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    assert later.state is State.SCHEDULED
    assert tasks.add.get_result(later.id) == later
    fixed = tasks.add.using(run_after=datetime.now(UTC) + timedelta(hours=1)).enqueue(1)
    assert tasks.add.get_result(fixed.id) == fixed


def test_many_are_enqueued_in_one_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2 if connection.vendor == "mysql" else 1):  # there the time is asked for first
        results = tasks.add.enqueue_many([(1,), (2, 3), {"x": 4}])
    run_all()
    assert [result.get() for result in results] == [3, 5, 6]
    assert results[-1].id == results.ids[2]  # type: ignore[attr-defined]


def test_nothing_is_sent_when_one_of_many_is_wrong() -> None:
    with pytest.raises(TypeError, match=r"Call 1 of 2, counted from 0: .*add"):
        tasks.add.enqueue_many([(1,), (2, 3, 4)])
    assert not QueuedJob.objects.exists()


def test_an_exception_fails_the_job_and_is_kept() -> None:
    result = tasks.explode.enqueue()
    run_all()
    with pytest.raises(TaskFailed, match=r"explode.*FAILED: KeyError: 'missing'") as caught:
        result.get()
    assert caught.value.result is result
    (error,) = result.errors
    assert error.exception_class is KeyError
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert '    raise KeyError("missing")\n' in error.traceback
    assert "executor.py" not in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@pytest.mark.parametrize(
    ("how", "named"), [("system exit", "SystemExit"), ("interrupt", "KeyboardInterrupt"), ("stop", "GeneratorExit")]
)
def test_a_task_that_raises_what_would_end_a_program_fails_and_the_next_one_runs(how: str, named: str) -> None:
    result, after = tasks.leave.enqueue(how), tasks.add.enqueue(1)
    run_all()
    result.refresh()
    assert result.state is State.FAILED
    assert result.errors[0].exception_class_path == f"builtins.{named}"
    assert after.get() == 3


def test_a_value_that_cannot_be_stored_fails_the_job_and_says_why() -> None:
    bad, large = tasks.unserialisable.enqueue(), tasks.too_large.enqueue()
    run_all()
    bad.refresh()
    large.refresh()
    assert "ResultNotSerializable" in bad.errors[0].traceback
    assert "object" in bad.reason
    assert "return value is 2.0 MiB > 1 MiB" in large.reason


def test_an_unknown_task_fails_and_says_why() -> None:
    result = tasks.add.enqueue(1)
    QueuedJob.objects.update(task_path="tests.app.tasks.gone")
    run_all()
    found = compat.task_backends["default"].get_result(result.id)
    assert (found.state, found.task.module_path) == (State.FAILED, "tests.app.tasks.gone")  # type: ignore[attr-defined]
    assert "No task is registered as 'tests.app.tasks.gone'" in found.errors[0].traceback


@pytest.mark.parametrize(
    "path", ["os.system", "antigravity.x", "tests.app.tasks.os", "nothing", "", "a..b", "django.setup"]
)
def test_only_registered_tasks_can_be_run_by_name(path: str) -> None:
    tasks.add.enqueue(1)
    QueuedJob.objects.update(task_path=path)
    run_all()
    row = JobResult.objects.get()
    assert (row.status, row.exception_class) == ("FAILED", "taskq_django.exceptions.TaskNotFound")


@pytest.mark.parametrize(
    "payload", ["", "{", "[]", "[1,2]", '[[{"$t":"os.system","v":1}],{}]', "null", '[[{"$t":"uuid","v":"x"}],{}]']
)
def test_unreadable_arguments_fail_the_job_and_the_next_one_runs(payload: str) -> None:
    tasks.add.enqueue(1)
    QueuedJob.objects.update(payload=payload)
    after = tasks.add.enqueue(2)
    run_all()
    assert JobResult.objects.get(status="FAILED").exception_class == "taskq_django.exceptions.PayloadError"
    assert after.get() == 4


def test_a_failing_job_is_tried_again_and_every_attempt_is_kept() -> None:
    tasks.flaky_calls = 0
    result = tasks.flaky.enqueue(3)
    run_all()
    assert result.get() == "call 3"
    assert (result.attempts, [error.exception_class for error in result.errors]) == (3, [ConnectionError] * 2)
    assert list(JobAttempt.objects.values_list("number", flat=True).order_by("number")) == [1, 2]


def test_a_job_fails_when_its_attempts_are_used_up() -> None:
    tasks.flaky_calls = 0
    result = tasks.flaky.enqueue(99)
    run_all()
    result.refresh()
    assert (result.state, result.attempts, len(result.errors)) == (State.FAILED, 3, 3)


def test_a_task_may_discard_itself_or_ask_for_a_later_try() -> None:
    discarded, retried = tasks.no_thanks.enqueue(), tasks.again.enqueue()
    run_all()
    discarded.refresh()
    retried.refresh()
    assert (discarded.state, discarded.reason, discarded.status) == (State.CANCELLED, "not today", "FAILED")
    assert (retried.state, retried.status) == (State.SCHEDULED, "READY")
    assert [error.exception_class.__name__ for error in retried.errors] == ["Retry"]


def test_a_task_that_takes_its_context_knows_its_job() -> None:
    result = tasks.about_me.using(metadata={"user": 7}).enqueue()
    run_all()
    assert result.get() == {"id": result.id, "attempt": 1, "metadata": {"user": 7}}


def test_a_task_that_keeps_no_result_leaves_no_row() -> None:
    tasks.forgettable.enqueue()
    assert run_all() == 1
    assert not JobResult.objects.exists()


def test_jobs_enqueued_by_a_job_run_too_and_later_ones_wait() -> None:
    tasks.add.using(run_after=timedelta(minutes=5)).enqueue(1)
    assert run_all() == 0
    assert QueuedJob.objects.count() == 1


def test_run_all_stops_at_its_limit() -> None:
    tasks.add.enqueue_many([(n,) for n in range(5)])
    assert run_all(limit=2) == 2
    assert QueuedJob.objects.filter(status="READY").count() == 3


def test_waiting_inside_a_transaction_raises_at_once() -> None:
    result = tasks.add.enqueue(1)
    with pytest.raises(ResultTimeout, match="inside a transaction"):
        result.get(timeout=60)


@pytest.mark.django_db(transaction=True)
def test_waiting_too_short_raises() -> None:
    with pytest.raises(ResultTimeout, match=r"after 0\.01 s"):
        tasks.add.enqueue(1).get(timeout=0.01)


async def _waits() -> None:
    result = await tasks.add.aenqueue(1)
    with pytest.raises(ResultTimeout):
        await result.aget(timeout=0.01)


@pytest.mark.django_db(transaction=True)
def test_the_async_twins_do_the_same() -> None:
    from asgiref.sync import async_to_sync

    async_to_sync(_waits)()
    assert QueuedJob.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_rollback_enqueues_nothing() -> None:
    def undone() -> None:
        with transaction.atomic():
            tasks.add.enqueue(1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undone()
    assert run_all() == 0


def test_hooks_are_called_in_order_around_a_job() -> None:
    calls: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda sender, **named: calls.append(f"{name} {getattr(sender, '__name__', sender)}")

    names = [
        "before_enqueue",
        "after_enqueue",
        "before_run",
        "after_run",
        "result_recorded",
        "worker_started",
        "worker_stopping",
    ]
    receivers = {name: note(name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False)
    try:
        tasks.add.enqueue(1)
        run_all()
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)

    assert calls == [
        "before_enqueue add",
        "after_enqueue add",
        "before_run add",
        "after_run add",
        "result_recorded add",
    ]


def test_a_receiver_may_add_headers_and_they_travel() -> None:
    seen: list[str] = []
    with (
        listening(signals.before_enqueue, lambda headers, **kw: headers.update(trace="abc")),
        listening(signals.before_run, lambda claim, **kw: seen.append(claim.job.headers)),
    ):
        tasks.add.using(metadata={"a": 1}).enqueue(1)
        run_all()
    assert seen == ['{"metadata":{"a":1},"trace":"abc"}']


def test_a_veto_before_enqueue_cancels_with_its_reason() -> None:
    def veto(**named: Any) -> None:
        raise Discard("closed on Sundays")

    with listening(signals.before_enqueue, veto):
        result = tasks.add.enqueue(1)
        many = tasks.add.enqueue_many([(1,), (2,)])
    assert (result.state, result.reason) == (State.CANCELLED, "closed on Sundays")
    assert [each.state for each in many] == [State.CANCELLED] * 2
    assert tasks.add.get_result(result.id) == result
    assert run_all() == 0


def test_a_veto_before_run_cancels_with_its_reason() -> None:
    def veto(**named: Any) -> None:
        raise Discard("maintenance")

    result = tasks.add.enqueue(1)
    with listening(signals.before_run, veto):
        run_all()
    result.refresh()
    assert (result.state, result.reason) == (State.CANCELLED, "maintenance")


def test_a_broken_receiver_is_logged_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(**named: Any) -> None:
        raise RuntimeError("broken receiver")

    with (
        listening(signals.after_enqueue, broken),
        listening(signals.after_run, broken),
        listening(signals.result_recorded, broken),
    ):
        result = tasks.add.enqueue(1)
        run_all()
    assert result.get() == 3
    assert caplog.text.count("broken receiver") >= 3


def test_the_frameworks_signals_are_sent_as_core_sends_them() -> None:
    seen: list[tuple[str, str, Any]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda sender, task_result, **kw: seen.append((name, str(task_result.status), sender.__name__))

    with (
        listening(compat.task_enqueued, note("enqueued")),
        listening(compat.task_started, note("started")),
        listening(compat.task_finished, note("finished")),
    ):
        tasks.add.enqueue(1)
        tasks.explode.enqueue()
        run_all()
    assert [entry[:2] for entry in seen] == [
        ("enqueued", "READY"),
        ("enqueued", "READY"),
        ("started", "RUNNING"),
        ("finished", "SUCCESSFUL"),
        ("started", "RUNNING"),
        ("finished", "FAILED"),
    ]
    assert {entry[2] for entry in seen} == {"TaskqBackend"}


def test_the_log_has_one_line_per_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "taskq_django.task"):
        ok, bad = tasks.add.enqueue(1), tasks.explode.enqueue()
        run_all()
    lines = [record.getMessage() for record in caplog.records if record.name == "taskq_django.task"]
    assert lines[0].startswith(f"succeeded task=tests.app.tasks.add id={ok.id} queue=default attempt=1 wait=")
    assert "KeyError" in lines[1]
    assert bad.id in lines[1]
    assert len(lines) == 2


def test_no_connection_is_left_in_a_transaction() -> None:
    tasks.add.enqueue(1)
    run_all()
    assert connection.in_atomic_block  # the test's own
    assert not connection.needs_rollback


@pytest.mark.parametrize("answer", [None, BrokerUnavailable("no answer")], ids=["the claim is lost", "an outage"])
@pytest.mark.parametrize("task", [tasks.ledgered_once, tasks.aledgered_once], ids=["thread", "coroutine"])
def test_what_must_not_begin_twice_does_not_begin_unknown_to_the_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, task: Any, answer: Exception | None
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    started_before_each_note = []
    note = DatabaseBroker.note_begun

    def fails_once(broker: DatabaseBroker, claim: Claim) -> bool:
        started_before_each_note.append(ledger.started())
        if len(started_before_each_note) > 1:
            return note(broker, claim)
        if answer is not None:
            raise answer
        return False

    monkeypatch.setattr(DatabaseBroker, "note_begun", fails_once)
    result = task.enqueue(str(ledger.path), 0.0)
    run_all()
    assert started_before_each_note == [0, 0]
    assert (result.get(), result.attempts, ledger.started()) == (result.id, 1, 1)

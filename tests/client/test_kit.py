"""The kit for tests of projects: what was enqueued, run, failed, lost, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest
from django.db import IntegrityError, transaction
from django.db.transaction import TransactionManagementError
from pytest_django import Settings

from taskq_django import Discard, Retry
from taskq_django.compat import FRAMEWORK
from taskq_django.exceptions import ArgumentError, ConfigurationError
from taskq_django.models import JobAttempt, QueuedJob
from taskq_django.states import State
from taskq_django.testing import TaskqKit
from taskq_django.testing.routing import without_engines
from tests.app import kit_tasks as tasks

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(60)]


def test_what_was_enqueued_is_found_by_its_call(taskq: TaskqKit) -> None:
    tasks.charge.enqueue(7, amount=3)

    [found] = taskq.assert_enqueued(tasks.charge, args=(7,), kwargs={"amount": 3})
    taskq.assert_enqueued(tasks.charge, args=(7, 3), times=1)
    taskq.assert_enqueued(tasks.charge, kwargs={"order_id": 7, "amount": 3, "note": ""})
    taskq.assert_enqueued(tasks.charge, args=(7, ANY))
    taskq.assert_enqueued(tasks.charge)
    taskq.refute_enqueued(tasks.charge, args=(8, 3))
    taskq.refute_enqueued(tasks.report)
    assert found.result.state is State.READY


def test_a_failure_shows_what_was_enqueued_instead_argument_by_argument(taskq: TaskqKit) -> None:
    tasks.charge.enqueue(8, 4, note="far")
    tasks.charge.using(queue_name="mail").enqueue(7, 4)

    with pytest.raises(AssertionError) as failure:
        taskq.assert_enqueued(tasks.charge, args=(7, 3), queue_name="mail")

    said = str(failure.value).splitlines()
    assert said[0] == "Not enqueued: tests.app.kit_tasks.charge(7, 3) in 'mail'."
    assert said[2:4] == ["  tests.app.kit_tasks.charge(7, 4) in 'mail'", "    amount: wanted 3, was 4"]
    assert "    order_id: wanted 7, was 8" in said
    assert "    queue_name: wanted 'mail', was 'default'" in said


def test_a_failure_says_how_often_it_was_enqueued_and_what_else_was(taskq: TaskqKit) -> None:
    with pytest.raises(AssertionError, match="This test has enqueued nothing"):
        taskq.assert_enqueued(tasks.report)
    tasks.charge.enqueue_many([(1, 1), (1, 1)])
    with pytest.raises(AssertionError, match="2 times instead of 3"):
        taskq.assert_enqueued(tasks.charge, args=(1, 1), times=3)
    with pytest.raises(AssertionError, match=r"other tasks:\n  tests.app.kit_tasks.charge\(1, 1\)"):
        taskq.assert_enqueued(tasks.report)
    with pytest.raises(AssertionError, match="2 times, and should not have been"):
        taskq.refute_enqueued()


def test_arguments_that_the_task_does_not_take_are_refused_by_name(taskq: TaskqKit) -> None:
    with pytest.raises(ArgumentError, match=r"charge\(.*'amuont'"):
        taskq.assert_enqueued(tasks.charge, args=(7, 1), kwargs={"amuont": 3})
    with pytest.raises(TypeError, match="missing a required argument: 'amount'"):
        taskq.refute_enqueued(tasks.charge, args=(7,))
    with pytest.raises(TypeError, match=r"args=\('7',\)"):
        taskq.assert_enqueued(tasks.charge, args="7")
    with pytest.raises(TypeError, match="must be a task"):
        taskq.assert_enqueued("charge")  # type: ignore[arg-type]


def test_when_it_is_to_run_is_compared(taskq: TaskqKit) -> None:
    moment = datetime(2099, 1, 1, tzinfo=UTC)
    tasks.report.using(run_after=60).enqueue()
    tasks.charge.using(run_after=moment).enqueue(1, 1)

    taskq.assert_enqueued(tasks.report, run_after=60)
    taskq.assert_enqueued(tasks.report, run_after=timedelta(minutes=1))
    taskq.assert_enqueued(tasks.charge, run_after=moment)
    taskq.refute_enqueued(tasks.report, run_after=61)
    taskq.refute_enqueued(tasks.report, run_after=0)


def test_what_is_rolled_back_was_not_enqueued(taskq: TaskqKit) -> None:
    with transaction.atomic():
        tasks.report.enqueue()
        transaction.set_rollback(True)

    taskq.refute_enqueued(tasks.report)
    assert taskq.enqueued == []


def test_what_has_run_since_was_enqueued_all_the_same(taskq: TaskqKit) -> None:
    tasks.forgetful.enqueue()
    tasks.charge.enqueue(1, -1)

    assert taskq.run_all() == 2

    assert [each.task.name for each in taskq.enqueued] == ["forgetful", "charge"]


def test_jobs_of_a_commit_that_never_comes_are_told_and_can_be_had(taskq: TaskqKit) -> None:
    transaction.on_commit(tasks.report.enqueue)
    with pytest.raises(AssertionError, match=r"1 callback of transaction.on_commit\(\) waits"):
        taskq.assert_enqueued(tasks.report)

    with taskq.capture_on_commit() as callbacks:
        transaction.on_commit(tasks.report.enqueue)
        taskq.refute_enqueued(tasks.report)

    assert len(callbacks) == 1
    taskq.assert_enqueued(tasks.report, times=1)
    with taskq.capture_on_commit(execute=False):
        transaction.on_commit(tasks.report.enqueue)
    taskq.assert_enqueued(tasks.report, times=1)


def test_perform_runs_one_job_and_returns_its_value(taskq: TaskqKit) -> None:
    waiting = tasks.report.enqueue()

    assert taskq.perform(tasks.charge, 7, amount=3) == {"order": 7, "amount": 3}
    assert taskq.perform(tasks.charge.using(run_after=3600), 8, 1) == {"order": 8, "amount": 1}
    assert taskq.perform(tasks.asked, datetime(2026, 1, 2, tzinfo=UTC)) == 2026
    assert taskq.perform(tasks.forgetful) is None

    waiting.refresh()
    assert waiting.state is State.READY


def test_perform_raises_what_the_task_raises(taskq: TaskqKit) -> None:
    with pytest.raises(ValueError, match="less than nothing") as raised:
        taskq.perform(tasks.charge, 7, -1)
    assert any(entry.name == "charge" for entry in raised.traceback)
    with pytest.raises(Discard, match="not today"):
        taskq.perform(tasks.choosy)
    with pytest.raises(Retry):
        taskq.perform(tasks.patient)
    with pytest.raises(ArgumentError):
        taskq.perform(tasks.charge, 7)  # type: ignore[call-arg]
    assert [each.result.state for each in taskq.enqueued] == [State.FAILED, State.CANCELLED, State.SCHEDULED]


def test_time_that_passes_makes_due_what_waits(taskq: TaskqKit) -> None:
    later = tasks.charge.using(run_after=timedelta(hours=1)).enqueue(1, 1)
    at_noon = tasks.charge.using(run_after=datetime(2099, 6, 1, 12, tzinfo=UTC)).enqueue(2, 2)
    assert taskq.run_all() == 0

    taskq.advance(timedelta(hours=1))
    assert taskq.run_all() == 1
    assert later.get(timeout=0) == {"order": 1, "amount": 1}

    taskq.advance(to=datetime(2099, 6, 1, 11, tzinfo=UTC))
    assert taskq.run_all() == 0
    taskq.advance(3600)
    assert taskq.run_all() == 1
    at_noon.refresh()
    assert at_noon.state is State.SUCCESSFUL
    with pytest.raises(ValueError, match="cannot go back"):
        taskq.advance(to=datetime(2099, 1, 1, tzinfo=UTC))


def test_a_job_expires_when_its_time_has_passed(taskq: TaskqKit) -> None:
    job = tasks.fresh.enqueue()

    taskq.advance(timedelta(minutes=2))
    taskq.run_all()

    job.refresh()
    assert job.state is State.EXPIRED


def test_a_run_that_is_to_fail_is_tried_again_as_in_a_worker(taskq: TaskqKit) -> None:
    job = tasks.patient_with_errors.enqueue()
    taskq.fail_next_run(tasks.patient_with_errors, ConnectionError("planned"))

    assert taskq.run_all() == 0
    taskq.advance(timedelta(minutes=10))
    assert taskq.run_all() == 1

    assert job.get(timeout=0) == "done"
    assert JobAttempt.objects.get(job_id=job.id).message == "planned"
    taskq.fail_next_run(tasks.charge, ZeroDivisionError, times=2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            taskq.perform(tasks.charge, 1, 1)
    taskq.perform(tasks.charge, 1, 1)


def test_a_job_whose_process_is_lost_runs_again(taskq: TaskqKit) -> None:
    job = tasks.charge.enqueue(1, 1)

    taskq.lose_a_claim(job)
    taskq.lose_a_claim(taskq.enqueued[0])
    assert taskq.run_all() == 1

    assert job.get(timeout=0) == {"order": 1, "amount": 1}
    assert job.attempts == 3
    assert all("WorkerLost" in error.exception_class_path for error in job.errors)
    with pytest.raises(AssertionError, match="cannot be claimed"):
        taskq.lose_a_claim(job)


def test_a_job_that_must_not_run_twice_fails_with_its_process(taskq: TaskqKit) -> None:
    job = tasks.once.enqueue()

    taskq.lose_a_claim(job)
    assert taskq.run_all() == 0

    job.refresh()
    assert job.state is State.FAILED


def test_a_schedule_fires_at_its_moments_and_at_no_other(taskq: TaskqKit) -> None:
    summer, winter = datetime(2026, 7, 1, 1, 0, tzinfo=UTC), datetime(2026, 12, 1, 1, 0, tzinfo=UTC)

    [job] = taskq.tick(tasks.nightly, at=summer)  # 03:00 in Berlin
    assert job.task.name == "nightly"
    assert taskq.tick(tasks.nightly, at=summer) == [], "a slot comes once"
    assert taskq.tick(tasks.nightly, at=winter) == []
    assert len(taskq.tick("kit night", at=winter + timedelta(hours=1))) == 1
    assert taskq.run_all() == 2
    with pytest.raises(LookupError, match="no schedule"):
        taskq.tick("kit nigth")


def test_all_schedules_tick_together(taskq: TaskqKit) -> None:
    jobs = taskq.tick(at=datetime(2027, 7, 1, 1, 0, tzinfo=UTC))

    assert "nightly" in [job.task.name for job in jobs]
    [often] = taskq.tick(tasks.often, at=taskq.now + timedelta(hours=1))
    assert often.task.name == "often"


def test_what_cannot_be_run_in_a_broken_transaction_is_said(taskq: TaskqKit) -> None:
    tasks.report.enqueue()
    with transaction.atomic():
        with pytest.raises(IntegrityError), transaction.atomic(savepoint=False):
            QueuedJob.objects.create(id=taskq.enqueued[0].id)
        for verb in (taskq.run_all, lambda: taskq.enqueued, lambda: taskq.perform(tasks.report)):
            with pytest.raises(TransactionManagementError, match="broken by an error before"):
                verb()

    assert taskq.run_all() == 1


def test_every_engine_gives_way_and_all_else_stays(settings: Settings) -> None:
    ours = "taskq_django.TaskqBackend"
    before = {
        "redis": {
            "BACKEND": ours,
            "QUEUES": ["a"],
            "OPTIONS": {"broker": "redis://h", "name": "n", "max_payload": 2048},
        },
        "rabbit": {"BACKEND": ours, "OPTIONS": {"broker": "amqp://h"}},
        "rung": {"BACKEND": ours, "OPTIONS": {"broker": "database://other", "bell": "redis://h"}},
        "default": {"BACKEND": ours, "OPTIONS": {"broker": "database://other", "max_payload": 2048}},
        "wrong": {"BACKEND": ours, "OPTIONS": {"broker": "memory://"}},
        "foreign": {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend", "OPTIONS": {"broker": "redis://h"}},
    }
    settings.TASKS = before

    with without_engines():
        routed = dict(settings.TASKS)

    assert before == settings.TASKS
    assert routed.pop("redis") == {"BACKEND": ours, "QUEUES": ["a"], "OPTIONS": {"max_payload": 2048}}
    assert routed.pop("rabbit") == {"BACKEND": ours, "OPTIONS": {}}
    assert routed.pop("rung") == {"BACKEND": ours, "OPTIONS": {"broker": "database://other"}}
    assert routed == {name: before[name] for name in ("default", "wrong", "foreign")}


def test_what_waits_in_a_backend_that_is_not_ours_is_not_seen_as_is_said(taskq: TaskqKit, settings: Settings) -> None:
    settings.TASKS = {"default": {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"}}
    tasks.charge.enqueue(1, 1)

    with pytest.raises(AssertionError, match=r"TASKS\['default'\] is DummyBackend here"):
        taskq.assert_enqueued(tasks.charge)
    with pytest.raises(ConfigurationError, match="no backend 'default' of taskq_django"):
        taskq.perform(tasks.charge, 1, 1)

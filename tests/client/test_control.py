"""What people do to jobs: cancel, retry, pause, purge; and what becomes of old results."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.test import override_settings
from django.utils import timezone

from taskq_django import control, status
from taskq_django.brokers.base import Broker
from taskq_django.compat import TaskResultDoesNotExist, task_backends
from taskq_django.exceptions import ArgumentError, ConfigurationError, ResultError
from taskq_django.jobs import new_id
from taskq_django.models import JobAttempt, JobProgress, JobResult, PausedQueue, QueuedJob, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.states import State
from taskq_django.store import pruning
from taskq_django.testing import run_all
from tests.app import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker() -> Broker:
    return task_backends["default"].broker  # type: ignore[attr-defined,no-any-return]


def test_a_waiting_job_is_cancelled_at_once() -> None:
    now, later = tasks.add.enqueue(1), tasks.add.using(run_after=timedelta(hours=1)).enqueue(2)

    assert now.cancel(reason="no more")
    assert async_to_sync(later.acancel)()

    assert (now.state, now.reason, later.state) == (State.CANCELLED, "no more", State.CANCELLED)
    assert now.args == [1]
    for result in (now, later):
        row = JobResult.objects.get(id=result.id)
        assert (row.started_at, row.last_attempted_at, row.worker_id, row.attempts) == (None, None, None, 0)
    assert run_all() == 0
    assert not QueuedJob.objects.exists()


def test_a_job_that_has_ended_cannot_be_cancelled() -> None:
    result = tasks.add.enqueue(1)
    run_all()

    assert not result.cancel()

    assert result.state is State.SUCCESSFUL


def test_of_a_running_job_the_worker_is_asked_to_end_it(broker: Broker) -> None:
    result = tasks.add.enqueue(1)
    (claim,) = broker.claim(["default"], 1, "w1")

    assert result.cancel()

    assert result.state is State.RUNNING
    assert broker.cancelled("w1") == {claim.job.id}
    assert broker.cancelled("w2") == set()


def test_a_job_whose_cancelling_came_too_late_for_its_run_is_not_run_again(broker: Broker) -> None:
    result = tasks.add.enqueue(1)
    broker.claim(["default"], 1, "w1")
    result.cancel()
    QueuedJob.objects.update(status=State.READY, token=None, worker_id=None)  # its process was lost

    run_all()

    result.refresh()
    assert result.state is State.CANCELLED


def test_cancel_says_what_came_of_each(broker: Broker) -> None:
    over, unknown = tasks.explode.enqueue(), new_id()
    run_all()
    waiting, running = tasks.add.enqueue(1), tasks.add.using(queue_name="mail").enqueue(2)
    broker.claim(["mail"], 1, "w1")

    done = control.cancel([waiting.id, running.id, over.id, unknown, "no id", waiting.id], broker)

    assert (done.ended, done.asked) == ({waiting.id}, {running.id})
    assert (done.ended_before, done.unknown) == ({over.id}, {unknown})


def test_a_job_that_is_known_no_more_is_not_one_that_had_ended() -> None:
    result = tasks.forgettable.enqueue()
    run_all()

    with pytest.raises(TaskResultDoesNotExist):
        result.cancel()


def test_a_failed_job_runs_again_with_its_story() -> None:
    tasks.flaky_calls = 0
    result = tasks.flaky.enqueue(until=4)
    run_all()
    result.refresh()
    assert (result.state, result.attempts, len(result.errors)) == (State.FAILED, 3, 3)

    result.retry()

    assert (result.state, result.attempts, len(result.errors)) == (State.READY, 3, 3)
    assert QueuedJob.objects.get().tries == 0
    run_all()
    assert result.get() == "call 4"
    assert (result.attempts, [error.exception_class_path for error in result.errors]) == (
        4,
        ["builtins.ConnectionError"] * 3,
    )


@pytest.mark.parametrize("ended", ["cancelled", "expired"])
def test_what_was_cancelled_or_expired_runs_again(ended: str) -> None:
    result = tasks.add.enqueue(1)
    result.cancel()
    if ended == "expired":
        JobResult.objects.update(status=State.EXPIRED)
    async_to_sync(result.aretry)()
    assert run_all() == 1
    assert result.get() == 3


def test_a_retried_job_waits_for_no_time_that_was_set_before() -> None:
    result = tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    result.cancel()

    result.retry()

    assert (result.state, QueuedJob.objects.get().run_after) == (State.READY, None)
    assert run_all() == 1


def test_neither_a_success_nor_a_waiting_job_is_retried(broker: Broker) -> None:
    done = tasks.add.enqueue(1)
    run_all()
    waiting = tasks.add.enqueue(2)

    for result, why in ((done, "new enqueue"), (waiting, "not ended")):
        with pytest.raises(ResultError, match=why):
            result.retry()

    assert control.retry([done.id, waiting.id, new_id(), "?"], broker) == frozenset()
    assert (JobResult.objects.count(), QueuedJob.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "mysql", reason="elsewhere no transaction can lock what it does not see")
def test_a_success_is_not_reopened_by_who_still_sees_its_failure(broker: Broker) -> None:
    result = tasks.add.enqueue(1)
    result.cancel()
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def retry_and_run() -> None:
        control.retry([result.id], broker)
        run_all()
        connections.close_all()

    try:
        with transaction.atomic():
            assert JobResult.objects.get().state is State.CANCELLED  # takes the snapshot
            other = Thread(target=retry_and_run, name="other")
            other.start()
            other.join(30)
            assert control.retry([result.id], broker) == frozenset()
    finally:
        connection.close()  # and with it the isolation level

    assert result.get() == 3


def test_a_deleted_job_leaves_nothing(broker: Broker) -> None:
    gone, kept = tasks.explode.enqueue(), tasks.explode.enqueue()
    run_all()
    for id_ in (gone.id, kept.id):
        JobProgress.objects.create(job_id=id_, attempt=1, done=1, updated_at=timezone.now())

    assert control.delete([gone.id, "nonsense"], broker) == {gone.id}

    assert control.states_of([gone.id, kept.id], broker) == {kept.id: State.FAILED}
    assert [str(row.job_id) for row in JobAttempt.objects.all()] == [kept.id]
    assert [str(row.job_id) for row in JobProgress.objects.all()] == [kept.id]
    assert control.delete([gone.id], broker) == set()


def test_what_waits_or_belongs_to_another_backend_is_not_deleted(broker: Broker) -> None:
    waits, theirs = tasks.add.enqueue(1), new_id()
    JobResult.objects.bulk_create([_ended(theirs, backend="other")])
    assert control.delete([waits.id, theirs], broker) == set()
    assert (QueuedJob.objects.count(), JobResult.objects.count()) == (1, 1)


def test_the_attempts_of_a_job_that_is_in_the_queue_too_outlive_its_result(broker: Broker) -> None:
    sent = tasks.explode.enqueue()
    run_all()
    control.retry([sent.id], broker)
    JobResult.objects.bulk_create([_ended(sent.id)])
    assert control.delete([sent.id], broker) == {sent.id}
    assert JobAttempt.objects.filter(job_id=sent.id).exists()


def _ended(id_: str, backend: str = "default") -> JobResult:
    told = {"task_path": "tests.app.tasks.explode", "queue_name": "default", "priority": 0, "payload": "[[],{}]"}
    now = timezone.now()
    return JobResult(id=id_, backend=backend, status="FAILED", enqueued_at=now, finished_at=now, **told)


def test_jobs_of_another_backend_are_not_retried(broker: Broker) -> None:
    result = tasks.add.enqueue(1)
    result.cancel()
    JobResult.objects.update(backend="gone")  # nobody would run it

    assert control.retry([result.id], broker) == frozenset()
    assert JobResult.objects.count() == 1


def test_a_paused_queue_waits_until_it_is_resumed(broker: Broker) -> None:
    result = tasks.add.using(queue_name="mail").enqueue(1)
    assert control.pause("mail", broker)
    assert not control.pause("mail", broker)
    assert run_all() == 0

    assert control.resume("mail", broker)
    assert not control.resume("mail", broker)
    assert run_all() == 1
    assert result.get() == 3
    with pytest.raises(ConfigurationError, match="no queue name"):
        control.pause("a b", broker)


def test_a_pause_ends_by_itself(broker: Broker) -> None:
    control.pause("mail", broker, reason="the provider is down", seconds=60)
    [queue] = status.read_status([broker]).queues
    assert (queue.paused, queue.reason) == (True, "the provider is down")
    assert 50 < (queue.paused_for or 0) <= 60
    assert control.end_pauses("default") == 0

    assert not control.pause("mail", broker, seconds=-1), "it was paused; the end is the new one"
    assert status.read_status([broker]).queues == []
    assert control.end_pauses("default") == 1
    assert not PausedQueue.objects.exists()


def test_purge_removes_what_has_not_begun(broker: Broker) -> None:
    for queue in ("mail", "mail", "default"):
        tasks.add.using(queue_name=queue).enqueue(1)
    tasks.add.using(queue_name="mail", run_after=timedelta(hours=1)).enqueue(1)
    broker.claim(["mail"], 1, "w1")

    assert control.purge("mail", broker) == 2

    assert sorted(QueuedJob.objects.values_list("queue_name", "status")) == [("default", "READY"), ("mail", "RUNNING")]


def aged(result: Any, **age: float) -> str:
    """Move the whole life of an ended job so far into the past; returns its new id."""
    then = timezone.now() - timedelta(**age)
    moved = UUID(int=pruning.first_id(then.timestamp()).int | UUID(result.id).int & (1 << 62) - 1)
    JobAttempt.objects.filter(job_id=result.id).update(job_id=moved)
    JobResult.objects.filter(id=result.id).update(id=moved, finished_at=then)
    return str(moved)


def left() -> set[str]:
    return {str(id_) for id_ in JobResult.objects.values_list("id", flat=True)}


def test_results_are_removed_when_their_time_is_over() -> None:
    results = [tasks.add.enqueue(n) for n in range(3)] + [tasks.explode.enqueue() for _ in range(3)]
    run_all()
    ids = [aged(result, days=days) for result, days in zip(results, [15, 13, 0, 31, 29, 0], strict=True)]

    assert pruning.count_old("default") == 2
    while pruning.prune_batch("default"):
        pass

    assert left() == {ids[1], ids[2], ids[4], ids[5]}
    assert JobAttempt.objects.count() == 2


def test_a_job_that_was_enqueued_long_ago_and_ended_lately_is_kept() -> None:
    result = tasks.add.enqueue(1)
    run_all()
    id_ = aged(result, days=100)
    JobResult.objects.update(finished_at=timezone.now())

    assert pruning.prune_batch("default") == 0
    assert left() == {id_}


def test_a_task_may_say_how_long_its_results_are_kept() -> None:
    results = [tasks.kept_for_an_hour.enqueue(), tasks.kept_for_a_year.enqueue()]
    run_all()
    _, year = aged(results[0], hours=2), aged(results[1], days=100)

    assert pruning.count_old("default") == 1
    pruning.prune_batch("default")

    assert left() == {year}


@override_settings(TASKQ={"RESULTS": {"KEEP_SUCCESSES": None, "KEEP_FAILURES": 60}})
def test_the_times_are_settings() -> None:
    results = [tasks.add.enqueue(1), tasks.explode.enqueue()]
    run_all()
    kept, _ = aged(results[0], days=1000), aged(results[1], minutes=2)
    while pruning.prune_batch("default"):
        pass
    assert left() == {kept}


def test_attempts_of_jobs_that_kept_no_result_are_removed_too() -> None:
    tasks.flaky_calls = 0
    result = tasks.flaky.enqueue(until=2)
    run_all()
    JobResult.objects.all().delete()
    assert pruning.prune_batch("default") == 0
    JobAttempt.objects.update(job_id=pruning.first_id(timezone.now().timestamp() - 40 * 86_400))

    assert pruning.prune_batch("default") == 1

    assert not JobAttempt.objects.filter(job_id=result.id).exists()


def test_progress_is_kept_as_long_as_the_result_and_goes_with_it() -> None:
    results = [tasks.count_to.enqueue(3), tasks.count_to.enqueue(4)]
    run_all()
    for result, days in zip(results, (15, 13), strict=True):
        JobProgress.objects.filter(job_id=result.id).update(job_id=aged(result, days=days))
    while pruning.prune_batch("default"):
        pass
    assert [row.done for row in JobProgress.objects.all()] == [4]


def test_progress_of_jobs_that_kept_no_result_is_removed_too() -> None:
    tasks.count_and_forget.enqueue(3)
    run_all()
    assert not JobResult.objects.exists()
    assert pruning.prune_batch("default") == 0
    assert JobProgress.objects.count() == 1
    JobProgress.objects.update(job_id=pruning.first_id(timezone.now().timestamp() - 40 * 86_400))

    assert pruning.prune_batch("default") == 1

    assert not JobProgress.objects.exists()


@override_settings(TASKQ={"RESULTS": {"KEEP_FAILURES": None}})
def test_progress_without_a_result_goes_though_failures_stay_for_ever() -> None:
    tasks.count_and_forget.enqueue(3)
    ended = tasks.count_to.enqueue(4)
    run_all()
    JobProgress.objects.exclude(job_id=ended.id).update(
        job_id=pruning.first_id(timezone.now().timestamp() - 40 * 86_400)
    )
    JobProgress.objects.filter(job_id=ended.id).update(job_id=aged(ended, days=35))
    JobResult.objects.update(status=State.FAILED)

    pruning.prune_all("default")

    assert [row.done for row in JobProgress.objects.all()] == [4]


def test_attempts_are_looked_at_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    monkeypatch.setattr(pruning, "_looked_to", {})
    results = [tasks.explode.enqueue() for _ in range(5)]
    run_all()
    ids = [aged(result, days=40, minutes=-number) for number, result in enumerate(results)]
    JobResult.objects.update(finished_at=timezone.now())
    JobResult.objects.filter(id=ids[4]).delete()

    assert [pruning.prune_batch("default") for _ in range(4)] == [0, 0, 1, 0]

    assert {str(id_) for id_ in JobAttempt.objects.values_list("job_id", flat=True)} == set(ids[:4])
    JobResult.objects.filter(id=ids[3]).delete()
    call_command("taskq_prune")
    assert {str(id_) for id_ in JobAttempt.objects.values_list("job_id", flat=True)} == set(ids[:3])


def test_the_attempts_of_a_job_that_was_retried_are_kept(broker: Broker) -> None:
    result = tasks.explode.enqueue()
    run_all()
    id_ = aged(result, days=40)
    control.retry([id_], broker)

    assert pruning.prune_all("default") == 0

    assert JobAttempt.objects.filter(job_id=id_).exists()


def test_the_command_says_how_much_it_has_removed(capsys: pytest.CaptureFixture[str]) -> None:
    results = [tasks.add.enqueue(1), tasks.explode.enqueue(), tasks.explode.enqueue()]
    run_all()
    ids = [aged(result, days=40) for result in results]
    JobResult.objects.filter(id=ids[2]).delete()

    call_command("taskq_prune")

    assert capsys.readouterr().out == "default: 3 results or attempts removed\n"
    assert not JobAttempt.objects.exists()


def test_the_commands_do_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tasks.add.enqueue(1), tasks.explode.enqueue()
    call_command("taskq_cancel", first.id, reason="no")
    assert f"{first.id}: cancelled" in capsys.readouterr().out
    unknown = new_id()
    with pytest.raises(CommandError) as refused:
        call_command("taskq_cancel", first.id, unknown, "no id")
    assert str(refused.value) == f"Had ended already: {first.id}. No job is known by the id {unknown}, no id."
    run_all()
    call_command("taskq_retry", failed=True, task="tests.app.tasks.explode")
    assert "1 job will run again" in capsys.readouterr().out
    second.refresh()
    assert second.state is State.READY
    for wrong in ([], ["--failed", second.id], [second.id]):
        with pytest.raises(CommandError):
            call_command("taskq_retry", *wrong)
    call_command("taskq_pause", "mail", "--for", "119", "--reason", "a walk")
    assert PausedQueue.objects.get().queue_name == "mail"
    call_command("taskq_status")
    shown = capsys.readouterr().out
    assert "paused for 1 min" in shown
    assert "more: a walk" in shown
    call_command("taskq_resume", "mail")
    call_command("taskq_purge", "default", interactive=False)
    assert "1 job removed" in capsys.readouterr().out
    call_command("taskq_prune", dry_run=True)
    assert "0 results would be removed" in capsys.readouterr().out


def test_an_id_may_be_spelled_in_any_way(capsys: pytest.CaptureFixture[str]) -> None:
    result = tasks.add.enqueue(1)

    call_command("taskq_cancel", result.id.upper(), result.id.replace("-", ""))
    call_command("taskq_retry", result.id.upper(), result.id)

    assert capsys.readouterr().out == f"{result.id}: cancelled\n1 job will run again\n"


@pytest.mark.django_db(databases=["default", "other"])
def test_the_limit_of_a_retry_counts_the_jobs_of_all_databases(settings: Any) -> None:
    ours = {"BACKEND": "taskq_django.TaskqBackend"}
    settings.TASKS = {"default": ours, "far": {**ours, "OPTIONS": {"broker": "database://other"}}}
    results = [tasks.explode.using(backend=alias).enqueue() for alias in ("default", "default", "far", "far")]
    for result in results:
        result.cancel()
    for database in ("default", "other"):
        JobResult.objects.using(database).update(status=State.FAILED)

    call_command("taskq_retry", failed=True, limit=3)

    assert [QueuedJob.objects.using(database).count() for database in ("default", "other")] == [2, 1]


def test_status_shows_queues_and_workers(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    tasks.add.enqueue_many([(n,) for n in range(3)])
    tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    tasks.add.using(queue_name="mail").enqueue(1)
    broker.claim(["mail"], 1, "w1")
    control.pause("mail", broker)
    for name, seen in (("a", 0), ("b", -3600)):
        WorkerProcess.objects.create(
            id=name, name=name, host="h", pid=1, started_at=DatabaseNow(), seen_at=DatabaseNow(seen)
        )

    call_command("taskq_status", json=True)

    shown = json.loads(capsys.readouterr().out)
    queues = {queue["queue"]: queue for queue in shown["queues"]}
    assert (queues["default"]["ready"], queues["default"]["scheduled"], queues["default"]["paused"]) == (3, 1, False)
    assert 0 <= queues["default"]["oldest_ready"] < 60
    assert (queues["mail"]["running"], queues["mail"]["paused"]) == (1, True)
    assert [(worker["name"], worker["alive"]) for worker in shown["workers"]] == [("a", True), ("b", False)]
    call_command("taskq_status")
    assert "paused" in (text := capsys.readouterr().out)
    assert "LOST" in text


def test_status_counts_what_ended_in_the_last_hour_and_day(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [tasks.add.enqueue(n) for n in range(4)] + [tasks.explode.enqueue()]
    run_all()
    aged(results[0], hours=2)
    aged(results[1], days=2)
    JobResult.objects.filter(id=results[2].id).update(backend="not ours")

    call_command("taskq_status", json=True)

    shown = json.loads(capsys.readouterr().out)
    assert shown["recent"] == {"SUCCESSFUL": 1, "FAILED": 1}
    assert shown["day"] == {"SUCCESSFUL": 2, "FAILED": 1}
    assert shown["more"] is False
    monkeypatch.setattr(status, "COUNTED", 1)
    call_command("taskq_status")
    assert "the last day and ended: failed 1, successful 1 or more\n" in capsys.readouterr().out


def test_health_is_an_exit_code_and_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    tasks.add.enqueue(1)
    with pytest.raises(SystemExit) as ended:
        call_command("taskq_health", max_age=0.0, max_backlog=0, json=True)
    assert ended.value.code == 1
    assert len(json.loads(capsys.readouterr().out)["reasons"]) == 3
    WorkerProcess.objects.create(id="a", name="a", host="h", pid=1, started_at=DatabaseNow(), seen_at=DatabaseNow())
    call_command("taskq_health", max_age=60.0, max_backlog=5)
    assert capsys.readouterr().out == "healthy\n"


@pytest.mark.parametrize("step", [3600, -3600, 86_400, -86_400])
@pytest.mark.parametrize("lives", [True, False])
def test_health_takes_no_step_of_a_clock_for_a_death_or_a_life(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, step: int, lives: bool
) -> None:
    """What the row says was written before the clock was put forward or back."""
    WorkerProcess.objects.create(id="a", name="a", host="h", pid=1, started_at=DatabaseNow(), seen_at=DatabaseNow(step))
    clock = iter(range(100))

    def wait(seconds: float) -> None:
        if lives:
            WorkerProcess.objects.update(seen_at=DatabaseNow())

    monkeypatch.setattr(status, "sleep", wait)
    monkeypatch.setattr(status, "monotonic", lambda: next(clock))
    if lives:
        call_command("taskq_health")
        assert capsys.readouterr().out == "healthy\n"
    else:
        with pytest.raises(SystemExit):
            call_command("taskq_health")
        assert capsys.readouterr().out == "0 workers alive, fewer than 1: start one with manage.py taskq_worker\n"


@pytest.mark.parametrize("year", [1, 1969, 9900, 9999])
def test_a_year_that_is_nonsense_is_refused_where_a_job_is_to_be_due(broker: Broker, year: int) -> None:
    sent = tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    before = QueuedJob.objects.get().available_at
    with pytest.raises(ArgumentError, match="give a moment from 1970 to 9899, or None for now"):
        control.reschedule([sent.id], broker, datetime(year, 6, 1, tzinfo=UTC))
    assert QueuedJob.objects.get().available_at == before

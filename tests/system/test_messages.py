"""Real workers on Redis: jobs do there what they do in a database, and who dies costs none of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from taskq_django import Result
from taskq_django.brokers.database import broker as database_broker
from taskq_django.models import CancelWish, JobAttempt, JobResult, QueuedJob, WorkerProcess
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.ledger import Ledger
from tests.support.redis_places import assert_whole, bodies
from tests.support.redis_servers import Redis
from tests.support.workers import RealWorker, nobody_writes, wait_for
from tests.system.test_crashes import LOST, wait_for_end
from tests.system.test_leases import wait_for_starts
from tests.system.test_once import kill_child

Start = Callable[..., RealWorker]
OnBroker = Callable[..., dict[str, str]]

MANY = int(os.environ.get("TASKQ_TEST_MANY", "1000"))
BATCH, TINY = 20, 6  # jobs; a batch of short ones is so many times as large


def wait_for_results(worker: RealWorker, count: int, timeout: float = 60) -> None:
    wait_for(lambda: JobResult.objects.count() == count, timeout=timeout, what=lambda: worker.output[-5000:])


def assert_empty(server: Redis) -> None:
    with server.client() as client:
        wait_for(lambda: not bodies(client), what=lambda: str(bodies(client)))
        assert assert_whole(client) == set()


def first_starts(ledger: Ledger) -> list[str]:
    """The ids of the jobs, in the order in which they began."""
    return [id_ for id_, _ in sorted(ledger.stories().items(), key=lambda item: item[1].runs[0].started)]


# --- what jobs ask for ------------------------------------------------------------------------------------------------


def test_a_job_travels_by_redis_and_its_story_is_in_the_database(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis
) -> None:
    job = tasks.about_me.enqueue()
    with redis_server.client() as client:
        assert (bodies(client), QueuedJob.objects.exists()) == ({job.id}, False)
    wait_for_end(start_worker(env=on_redis), job)
    assert job.return_value["id"] == job.id
    assert_empty(redis_server)


def test_retries_and_delays_run_from_the_store(start_worker: Start, on_redis: dict[str, str], ledger: Ledger) -> None:
    worker = start_worker(env=on_redis).wait_until_ready()
    failing = tasks.ledgered_failing_once.enqueue(str(ledger.path))
    delayed = tasks.ledgered.using(run_after=timedelta(seconds=1)).enqueue(str(ledger.path), 0.0)
    assert delayed.state is State.SCHEDULED
    wait_for_end(worker, failing, delayed)
    assert (failing.state, failing.attempts) == (State.SUCCESSFUL, 2)
    assert (delayed.state, delayed.attempts) == (State.SUCCESSFUL, 1)
    assert delayed.started_at - delayed.enqueued_at >= timedelta(seconds=0.9)
    assert JobAttempt.objects.get(job_id=failing.id).exception_class.endswith("ConnectionError")


def test_what_is_too_late_does_not_begin(start_worker: Start, on_redis: dict[str, str]) -> None:
    job = tasks.soon_stale.enqueue()
    wait_for(lambda: timezone.now() - job.enqueued_at > timedelta(seconds=0.2))
    wait_for_end(start_worker(env=on_redis), job)
    assert job.state is State.EXPIRED


def test_a_paused_queue_waits_and_others_do_not(start_worker: Start, on_redis: dict[str, str]) -> None:
    call_command("taskq_pause", "mail", verbosity=0)
    waits = tasks.add.using(queue_name="mail").enqueue(1)
    goes = tasks.add.enqueue(1)
    worker = start_worker(env=on_redis)
    wait_for_end(worker, goes)
    after = tasks.add.enqueue(2)
    wait_for_end(worker, after)
    waits.refresh()
    assert waits.state is State.READY
    call_command("taskq_resume", "mail", verbosity=0)
    wait_for_end(worker, waits)


def test_what_is_purged_never_runs(start_worker: Start, on_redis: dict[str, str], redis_server: Redis) -> None:
    tasks.add.using(queue_name="mail").enqueue_many([(1,)] * 50)
    tasks.add.using(queue_name="mail", run_after=timedelta(0)).enqueue_many([(1,)] * 5)
    kept = tasks.add.enqueue(1)
    call_command("taskq_purge", "mail", verbosity=0, interactive=False)
    wait_for_end(start_worker("--burst", env=on_redis), kept)
    assert JobResult.objects.exclude(status=State.CANCELLED).count() == 1
    assert_empty(redis_server)


def test_a_burst_means_messages_and_rows(start_worker: Start, on_redis: dict[str, str], redis_server: Redis) -> None:
    tasks.add.enqueue_many([(number,) for number in range(250)])
    tasks.add.using(run_after=timedelta(0)).enqueue_many([(number,) for number in range(50)])
    failing = tasks.asecond.enqueue()
    worker = start_worker("--burst", env=on_redis)
    assert worker.wait(60) == 0, worker.output
    failing.refresh()
    assert (failing.state, failing.attempts) == (State.SUCCESSFUL, 2)
    assert JobResult.objects.filter(status=State.SUCCESSFUL).count() == 301
    assert_empty(redis_server)


def test_a_waiting_and_a_running_job_are_cancelled(start_worker: Start, on_redis: dict[str, str]) -> None:
    waiting = tasks.add.enqueue(1)
    waiting.cancel()
    running = tasks.wait_for_cancel.enqueue()
    worker = start_worker(env=on_redis).wait_until_ready()
    wait_for_end(worker, waiting)
    assert waiting.state is State.CANCELLED
    wait_for(lambda: running.refresh() or running.state is State.RUNNING, what=lambda: worker.output)
    running.cancel()
    wait_for_end(worker, running)
    assert running.state is State.CANCELLED
    wait_for(lambda: not CancelWish.objects.exists(), what=lambda: worker.output)


def test_higher_priorities_begin_first(start_worker: Start, on_redis: dict[str, str], ledger: Ledger) -> None:
    by_priority = {
        priority: tasks.ledgered.using(priority=priority).enqueue(str(ledger.path), 0.01).id
        for priority in (0, -100, 50, 100, 1)
    }
    worker = start_worker("-t", "1", env=on_redis)
    wait_for_results(worker, 5)
    assert first_starts(ledger) == [by_priority[priority] for priority in (100, 50, 1, 0, -100)]


@pytest.mark.parametrize("crowd", ["messages", "rows"])
def test_one_of_high_priority_behind_ten_thousand_elsewhere_begins_within_two_batches(
    start_worker: Start, on_broker: OnBroker, redis_server: Redis, ledger: Ledger, crowd: str
) -> None:
    env = on_broker(redis_server.url, worker={"BATCH": BATCH})
    messages, rows = tasks.ledgered, tasks.ledgered.using(run_after=timedelta(0))
    crowded, other = (messages, rows) if crowd == "messages" else (rows, messages)
    crowded.enqueue_many([(str(ledger.path), 0.0)] * 10_000)
    urgent = other.using(priority=100).enqueue(str(ledger.path), 0.0)
    worker = start_worker("-t", "1", env=env)
    wait_for_end(worker, urgent)
    assert first_starts(ledger).index(urgent.id) <= 2 * BATCH * TINY


@pytest.mark.thorough
def test_a_thousand_that_fail_once_in_one_transaction_with_an_outbox_run_twice_each(
    start_worker: Start, on_broker: OnBroker, redis_server: Redis, ledger: Ledger
) -> None:
    env = on_broker(redis_server.url, outbox=True)
    worker = start_worker("-p", "2", env=env).wait_until_ready()
    with transaction.atomic():
        jobs = tasks.ledgered_failing_once.enqueue_many([(str(ledger.path),)] * MANY)
    check_each_ran_twice(worker, ledger, {job.id for job in jobs})
    assert_empty(redis_server)


@pytest.mark.thorough
def test_the_same_when_their_commit_takes_longer_than_their_rows_wait(
    start_worker: Start,
    on_broker: OnBroker,
    redis_server: Redis,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So their rows are due when they are seen first, and workers and the sender go after them at the same time."""
    monkeypatch.setattr(database_broker, "DUE_IN", 0.0)
    worker = start_worker("-p", "2", env=on_broker(redis_server.url, outbox=True)).wait_until_ready()
    with transaction.atomic():
        jobs = tasks.ledgered_failing_once.enqueue_many([(str(ledger.path),)] * MANY)
    check_each_ran_twice(worker, ledger, {job.id for job in jobs})
    assert_empty(redis_server)


def check_each_ran_twice(worker: RealWorker, ledger: Ledger, ids: set[str]) -> None:
    wait_for_results(worker, len(ids), timeout=60 + len(ids) / 25)
    wait_for(lambda: not QueuedJob.objects.exists(), what=lambda: worker.output[-5000:])
    assert set(JobResult.objects.values_list("status", "attempts")) == {(State.SUCCESSFUL, 2)}
    runs = {id_: [run.attempt for run in story.runs] for id_, story in ledger.stories().items()}
    assert runs == {id_: [1, 2] for id_ in ids}


# --- who dies ---------------------------------------------------------------------------------------------------------


def test_a_killed_process_costs_what_it_ran_a_start_and_the_others_nothing(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger, tmp_path: Path
) -> None:
    worker = start_worker("-t", "3", env=on_redis).wait_until_ready()
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 9)
    wait_for(lambda: len(ledger.running()) == 3, what=lambda: worker.output)
    begun = ledger.running()
    kill_child(worker)
    gate.open()
    wait_for_end(worker, *jobs)
    assert {job.state for job in jobs} == {State.SUCCESSFUL}
    assert {job.attempts for job in jobs if job.id not in begun} == {1}
    assert ledger.duplicated() == 0
    crashes = dict(JobResult.objects.values_list("id", "crashes"))
    assert {str(id_) for id_, count in crashes.items() if count} == begun
    assert_empty(redis_server)


def test_a_job_that_kills_its_process_ends_after_three_and_takes_no_other_with_it(
    start_worker: Start, on_redis: dict[str, str], ledger: Ledger
) -> None:
    poison = tasks.die.enqueue("SIGKILL")
    others = tasks.ledgered.enqueue_many([(str(ledger.path), 0.05)] * 12)
    wait_for_end(start_worker("-t", "3", env=on_redis), poison, *others)
    assert (poison.state, poison.attempts) == (State.FAILED, 3)
    assert [error.exception_class_path for error in poison.errors] == [LOST] * 3
    assert {other.state for other in others} == {State.SUCCESSFUL}
    assert ledger.duplicated() == 0


def test_many_short_jobs_tell_the_truth_however_often_their_process_is_killed(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger
) -> None:
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.0)] * 1500)
    worker = start_worker("-t", "4", env=on_redis).wait_until_ready()
    for part in (1, 2, 3):
        wait_for_starts(worker, ledger, part * 300)
        for child in worker.children():
            os.kill(child, signal.SIGKILL)
    wait_for_results(worker, 1500)
    wait_for(lambda: not QueuedJob.objects.exists(), what=lambda: worker.output)
    stories = ledger.stories()
    assert not ledger.lost({job.id for job in jobs})
    assert all(len({run.attempt for run in story.runs}) == len(story.runs) for story in stories.values())
    stored = {str(id_): attempts for id_, attempts in JobResult.objects.values_list("id", "attempts")}
    assert all(stored[id_] == max(run.attempt for run in story.runs) for id_, story in stories.items())
    assert sum(JobResult.objects.values_list("crashes", flat=True)) <= 3 * 4
    assert_empty(redis_server)


def test_what_must_not_begin_twice_does_not(start_worker: Start, on_redis: dict[str, str], ledger: Ledger) -> None:
    jobs = tasks.ledgered_once.enqueue_many([(str(ledger.path), 0.0)] * 600)
    worker = start_worker("-t", "4", env=on_redis).wait_until_ready()
    for part in (1, 2):
        wait_for_starts(worker, ledger, part * 150)
        for child in worker.children():
            os.kill(child, signal.SIGKILL)
    wait_for_results(worker, 600)
    stories = ledger.stories()
    assert max(len(story.runs) for story in stories.values()) == 1
    succeeded = set(map(str, JobResult.objects.filter(status=State.SUCCESSFUL).values_list("id", flat=True)))
    assert succeeded <= set(stories)
    assert len({job.id for job in jobs} - set(stories)) <= 2 * 4


def test_the_jobs_of_a_lost_host_run_on_another(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger
) -> None:
    killed = start_worker("-t", "2", env=on_redis).wait_until_ready()
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.5)] * 12)
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: killed.output)
    killed.send_to_group(signal.SIGKILL)
    killed.process.wait()
    other = start_worker("-t", "4", env=on_redis)
    wait_for_end(other, *jobs)
    assert {job.state for job in jobs} == {State.SUCCESSFUL}
    assert not ledger.lost({job.id for job in jobs})
    assert set(JobResult.objects.values_list("crashes", "tries")) == {(0, 0)}
    wait_for(lambda: WorkerProcess.objects.filter(supervisor=None).count() == 1)
    assert_empty(redis_server)


def test_processes_end_with_their_supervisor_and_finish_what_they_run(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 8)
    worker = start_worker("-p", "2", "-t", "2", env=on_redis).wait_until_ready()
    wait_for(lambda: len(ledger.running()) == 4, what=lambda: worker.output)
    worker.send(signal.SIGKILL)
    worker.process.wait()
    gate.open()
    wait_for(lambda: not ledger.running(), what=lambda: worker.output)
    wait_for_end(start_worker(env=on_redis), *jobs)
    assert ledger.duplicated() == 0
    assert_empty(redis_server)


def test_a_worker_that_wakes_too_late_changes_nothing_and_starts_nothing(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    jobs = tasks.ledgered_at.enqueue_many([(str(ledger.path), str(gate))] * 5)
    late = start_worker("-t", "1", env=on_redis).wait_until_ready()
    wait_for(ledger.running, what=lambda: late.output)
    with nobody_writes():
        late.send_to_group(signal.SIGSTOP)
    gate.open()
    other = start_worker("-t", "2", env=on_redis)
    wait_for_end(other, *jobs)
    before = set(JobResult.objects.values_list("id", "worker_id", "attempts", "finished_at"))
    late.send_to_group(signal.SIGCONT)
    wait_for(lambda: "under a new id" in late.output, what=lambda: late.output)
    wait_for(lambda: "lost task=" in late.output, what=lambda: late.output)
    assert set(JobResult.objects.values_list("id", "worker_id", "attempts", "finished_at")) == before
    assert ledger.duplicated() == 1
    other.send(signal.SIGTERM)
    other.wait()
    assert tasks.add.enqueue(1).get(timeout=60) == 3, late.output
    assert_empty(redis_server)


def test_a_stop_costs_no_job_a_try_and_runs_none_twice(
    start_worker: Start, on_redis: dict[str, str], redis_server: Redis, ledger: Ledger
) -> None:
    jobs: list[Result[Any]] = []
    for _ in range(3):
        jobs += tasks.ledgered.enqueue_many([(str(ledger.path), 0.02)] * 100)  # each time: they may all have ended
        seen = ledger.started()
        worker = start_worker("-p", "2", "-t", "4", env=on_redis).wait_until_ready()
        wait_for_starts(worker, ledger, seen + 20)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
        assert not ledger.running()
    wait_for_end(start_worker("-t", "8", env=on_redis), *jobs)
    assert ledger.duplicated() == 0
    assert set(JobResult.objects.values_list("attempts", "tries", "crashes")) == {(1, 0, 0)}
    assert_empty(redis_server)

"""Acts of the admin on more jobs than a request waits for, done by real workers that are killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from taskq_django.jobs import new_id
from taskq_django.models import JobProgress, JobResult, QueuedJob
from taskq_django.models.moments import database_now
from tests.app import tasks
from tests.support.workers import RealWorker, wait_for

Start = Callable[..., RealWorker]

COUNT = 12_000
ACT = "taskq_django.admin.many.act_on_many"
PURGE = "taskq_django.admin.purging.purge_queue"


@pytest.fixture
def admin(transactional_db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ann", password="x"))
    return client


@pytest.fixture
def failures(transactional_db: None) -> None:
    """COUNT results that have failed, and one that has not."""
    now = database_now("default")
    path = tasks.add.module_path
    given: dict[str, Any] = {
        "task_path": path,
        "backend": "default",
        "queue_name": "default",
        "enqueued_at": now,
        "finished_at": now,
    }
    given |= {"priority": 0, "attempts": 1}
    rows = [JobResult(id=new_id(), status="FAILED", payload="[[1],{}]", **given) for _ in range(COUNT)]
    JobResult.objects.bulk_create([*rows, JobResult(id=new_id(), status="SUCCESSFUL", **given)], batch_size=500)


def act(client: Client, verb: str) -> QueuedJob:
    """Do it to all that have failed; the job that does."""
    address = f"{reverse('admin:taskq_django_jobresult_changelist')}?status=FAILED"
    some = [str(pk) for pk in JobResult.objects.filter(status="FAILED").values_list("pk", flat=True)[:2]]
    chosen = {"action": f"{verb}_selected", "_selected_action": some, "select_across": "1", "confirmed": "yes"}
    answer = client.post(address, chosen, follow=True)
    assert "goes on in the background" in answer.content.decode()
    return QueuedJob.objects.get(task_path=ACT)


def kill_processes(worker: RealWorker) -> None:
    for pid in worker.children():
        os.kill(pid, signal.SIGKILL)


def ended(worker: RealWorker, job: QueuedJob) -> JobResult:
    wait_for(JobResult.objects.filter(pk=job.pk).exists, what=lambda: worker.output)
    return JobResult.objects.get(pk=job.pk)


def test_a_delete_whose_process_is_killed_is_done_to_all_and_to_no_more(
    start_worker: Start, admin: Client, failures: None
) -> None:
    job = act(admin, "delete")
    mine = JobResult.objects.filter(status="FAILED")
    worker = start_worker("-t", "1")
    wait_for(lambda: mine.count() < COUNT, what=lambda: worker.output)
    kill_processes(worker)
    result = ended(worker, job)
    assert (result.status, mine.count()) == ("SUCCESSFUL", 0), worker.output
    assert JobResult.objects.filter(status="SUCCESSFUL", task_path=tasks.add.module_path).count() == 1
    assert JobProgress.objects.get(pk=job.pk).text
    assert LogEntry.objects.filter(object_id=job.pk).count() == 2, "asked for, and done"
    page = admin.get(reverse("admin:taskq_django_job", args=[job.pk])).content.decode()
    assert "were deleted" in page


def test_a_retry_whose_process_is_killed_sends_each_job_once(
    start_worker: Start, admin: Client, failures: None
) -> None:
    job = act(admin, "retry")
    worker = start_worker("-t", "1", "-p", "2")
    wait_for(lambda: JobResult.objects.filter(status="FAILED").count() != COUNT, what=lambda: worker.output)
    kill_processes(worker)
    result = ended(worker, job)
    assert result.status == "SUCCESSFUL", worker.output
    again = JobResult.objects.filter(task_path=tasks.add.module_path, status="SUCCESSFUL")
    wait_for(lambda: again.count() == COUNT + 1, timeout=200, what=lambda: worker.output[-3000:])
    assert not QueuedJob.objects.exists()


def test_a_purge_whose_process_is_killed_leaves_nothing(start_worker: Start, admin: Client) -> None:
    for _ in range(COUNT // 1000):
        tasks.add.using(queue_name="mail").enqueue_many([(1,)] * 1000)
    given = {"backend": "default", "queue": "mail", "typed": "mail", "sure": "yes"}
    answer = admin.post(reverse("admin:taskq_django_queue_purge"), given, follow=True)
    assert "goes on in the background" in answer.content.decode()
    job = QueuedJob.objects.get(task_path=PURGE)
    worker = start_worker("-t", "1", "-Q", "default")
    wait_for(lambda: QueuedJob.objects.filter(queue_name="mail").count() < COUNT, what=lambda: worker.output)
    kill_processes(worker)
    result = ended(worker, job)
    assert result.status == "SUCCESSFUL", worker.output
    assert not QueuedJob.objects.exists()

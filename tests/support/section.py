"""Every page of the section in the admin, and the page of a job's progress, each with something on it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.jobs import Claim, Progress
from taskq_django.models import (
    JobAttempt,
    JobProgress,
    JobResult,
    PausedQueue,
    Queue,
    QueuedJob,
    RegisteredTask,
    Schedule,
    ScheduleRun,
    WorkerProcess,
)
from taskq_django.pages.progress import token_of
from taskq_django.states import State
from taskq_django.store.counts import Kind, Spans, Tally
from taskq_django.testing import run_all
from tests.app import signatures, tasks
from tests.support.busy_day import a_busy_day
from tests.support.sending import job

HOSTILE = (
    "\"'><img src=x onerror=alert(1)>",
    "</title></textarea></script><script>alert(1)</script>",
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7|add:7 }}{% debug %}",
    "&lt;b&gt;&#60;",
    "\u202egnp.exe\u2066",  # turns around what follows, and does not end
    "-->]]><!--",
)
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/shop/tasks.py", line 31, in send_invoice
    answer = requests.post(PRINTER, json={"order": order}, timeout=5)
  File "/srv/venv/lib/python3.13/site-packages/requests/api.py", line 115, in post
    return request("post", url, data=data, json=json, **kwargs)
TimeoutError: """


def of_a_busy_day(monkeypatch: pytest.MonkeyPatch, *texts: str) -> dict[str, str]:
    """The addresses of all pages, by name. ``texts`` stand wherever somebody may have written something."""
    a_busy_day(monkeypatch)
    monkeypatch.setattr(tasks, "flaky_calls", 0)
    ended = tasks.flaky.enqueue(9)
    tasks.log_in.enqueue("ann", "hunter2", options={"remember": True}, pin="1234")
    run_all(queues=("default",))
    failed = JobResult.objects.get(id=ended.id)
    succeeded = JobResult.objects.filter(status=State.SUCCESSFUL).latest("id")
    running, waiting = tasks.echo.enqueue("a"), tasks.echo.enqueue("b")
    QueuedJob.objects.filter(id=running.id).update(status=State.RUNNING, attempts=1)
    claim = Claim(job(id=running.id, attempts=1), "", 0.0)
    DatabaseBroker("default").note_progress([(claim, Progress(3, 8, "the third of eight"))], waits=True)
    row = Schedule.objects.get(name="Weekly report")
    ScheduleRun.objects.create(schedule=row, slot=row.created_at, job_id=failed.id, enqueued_at=row.created_at)
    finished = Schedule.objects.create(
        name="Ended", task_path=tasks.add.module_path, kwargs={"x": 1}, kind="once", spec="2001-01-01 00:00"
    )
    for model, key in ((JobResult, failed.id), (Queue, "default/mail"), (WorkerProcess, "w"), (RegisteredTask, "t")):
        _note(model, str(key), "Paused.")
    if texts:
        _write(" ".join(texts), failed, running.id, waiting.id)
    evil = json.dumps(" ".join(texts))[1:-1] if texts else ""
    return {
        "index": reverse("admin:app_list", args=["taskq_django"]),
        "dashboard": of("dashboard"),
        "queues": of("queue"),
        "workers": of("workerprocess"),
        "tasks": of("registeredtask"),
        "tasks, none found": f"{of('registeredtask')}?q=nothing{evil}",
        "run": of("registeredtask", "run", signatures.typed.module_path),
        "run, secret": of("registeredtask", "run", signatures.secretive.module_path),
        "results": of("jobresult"),
        "results, failed": f"{of('jobresult')}?status=FAILED",
        "results, none found": f"{of('jobresult')}?q=nothing",
        "queued": of("queuedjob"),
        "queued, running": f"{of('queuedjob')}?status=RUNNING",
        "failed job": reverse("admin:taskq_django_job", args=[failed.id]),
        "succeeded job": reverse("admin:taskq_django_job", args=[succeeded.id]),
        "running job": reverse("admin:taskq_django_job", args=[running.id]),
        "waiting job": reverse("admin:taskq_django_job", args=[waiting.id]),
        "again": reverse("admin:taskq_django_job_again", args=[succeeded.id]),
        "schedules": of("schedule"),
        "schedules, none found": f"{of('schedule')}?q=nothing",
        "new schedule": of("schedule", "add"),
        "schedule": of("schedule", "change", row.pk),
        "finished schedule": of("schedule", "change", finished.pk),
        "history of a schedule": of("schedule", "history", row.pk),
        "end of a schedule": of("schedule", "delete", row.pk),
        "progress": reverse("taskq_django:progress", args=[token_of(running)]),
        "progress, ended": reverse("taskq_django:progress", args=[token_of(ended)]),
    }


def of(model: str, what: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:taskq_django_{model}_{what}", args=args)


def _note(model: Any, key: str, text: str) -> None:
    LogEntry.objects.create(
        user=User.objects.filter(is_superuser=True).latest("pk"),
        content_type=ContentType.objects.get_for_model(model, for_concrete_model=False),
        object_id=key,
        object_repr=key,
        action_flag=CHANGE,
        change_message=text,
    )


def _write(text: str, failed: JobResult, running: str, waiting: str) -> None:
    """Into every column that keeps a text, as no form and no ``save`` would."""
    call = json.dumps([[text], {text[:60]: text}])
    made_by = {"name": text, "slot": text, "id": 1}
    headers = json.dumps({"schedule": made_by, "sensitive": {"names": [], "parameters": ["*args", "**kwargs"]}})
    told = {"payload": call, "headers": headers, "task_path": text[:255], "queue_name": text[:64]}
    JobResult.objects.filter(pk=failed.pk).update(
        **told,
        message=text,
        exception_class=text[:255],
        worker_id=text[:128],
        return_value=json.dumps({text: text}),
    )
    JobAttempt.objects.update(
        exception_class=text[:255], message=text, traceback=TRACEBACK + text, worker_id=text[:128]
    )
    QueuedJob.objects.filter(id__in=[running, waiting]).update(**told, worker_id=text[:128])
    WorkerProcess.objects.filter(supervisor=None).update(
        name=text[:100], host=text[:255], version=text[:40], queues=text, excluded=text
    )
    PausedQueue.objects.update(reason=text[:200], queue_name=text[:64])
    JobProgress.objects.update(text=text[:255])
    LogEntry.objects.update(object_repr=text[:200], change_message=text)
    Spans("w", "default").add({Kind("default", text[:64], text[:255]): Tally(ends=[1, 1, 1, 1])})
    rows = Schedule.objects.exclude(name__in=["Warm the cache", "Ended"])
    for row in rows:
        Schedule.objects.filter(pk=row.pk).update(
            name=f"{row.pk} {text}"[:200],
            note=text,
            declared_as=text[:255],
            broken=text if row.broken else "",
            disabled_reason=text[:200],
            queue_name=text[:64],
            kwargs={"x": text, text: [text]},
        )
    broken = rows.exclude(broken="")
    broken.update(task_path=text[:255], spec=text[:100], timezone=text[:64])

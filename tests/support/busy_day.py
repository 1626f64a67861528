"""Something on every page of the control room: workers, queues, jobs, schedules and a week of figures."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from taskq_django import control
from taskq_django.compat import task_backends
from taskq_django.models import JobCounts, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.store import counts
from taskq_django.store.counts import Kind, Spans, Tally, bucket_of
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import raw, schedule

LONG = "a-queue-with-a-name-that-is-as-long-as-names-may-be-at-most-here"


def a_busy_day(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    now = datetime.now(UTC)
    for hours in range(160):
        _count(monkeypatch, now - timedelta(hours=hours), chance, 3000)
    JobCounts.objects.filter(seconds=counts.MINUTE).delete()
    for minutes in range(59, -1, -1):
        _count(monkeypatch, now - timedelta(minutes=minutes), chance, 60)
    for name, more in (
        ("web-1:4711", {"busy": 3, "memory": 61, "version": "1.0.0", "threads": 8, "coroutines": 200}),
        (
            "web-2:812",
            {"state": "QUIET", "queues": f"mail,{LONG}", "version": "1.0.0", "threads": 4, "coroutines": 100},
        ),
        ("an-old-one-with-a-long-name.internal.example.com:3", {"seen_at": DatabaseNow(-4000)}),
    ):
        given = {
            "host": name.partition(":")[0],
            "pid": 4711,
            "started_at": DatabaseNow(-90_000),
            "seen_at": DatabaseNow(),
            "serving": 2,
            "busy": 0,
        }
        row = WorkerProcess.objects.create(id=f"{name}/x", **{**given, "name": name, "excluded": LONG, **more})
        WorkerProcess.objects.create(id=f"{name}/x/1", supervisor=row, **{**given, "name": name})
    tasks.add.using(queue_name="mail").enqueue_many([(n,) for n in range(40)])
    tasks.add.using(queue_name=LONG).enqueue(1)
    tasks.add.using(run_after=timedelta(hours=2)).enqueue(1)
    for _ in range(4):
        tasks.explode.enqueue()
    tasks.leave.enqueue("system exit")
    run_all(queues=("default",))
    tasks.add.enqueue_many([(n,) for n in range(12)])
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    broker.claim(["default"], 3, "web-1:4711/x/1")
    control.pause("video", broker, reason="the provider is down until their next release", seconds=5000)
    schedule(name="Weekly report", spec="30 6 * * 1")
    schedule(name="Warm the cache", kind="interval", spec="5 minutes")
    raw(schedule(name="Late"), next_run_at=now - timedelta(minutes=4))
    raw(schedule(name="Broken"), broken="No task is registered as 'shop.tasks.gone'.")


def _count(monkeypatch: pytest.MonkeyPatch, moment: datetime, chance: random.Random, most: int) -> None:
    monkeypatch.setattr(counts, "database_now", lambda database: moment)
    ended = chance.randrange(most // 3, most)
    tally = Tally(ends=[ended, ended // 30, ended // 12, ended // 90])
    for _ in range(20):
        tally.waits[bucket_of(chance.lognormvariate(-4, 1.5))] += 1
        tally.runs[bucket_of(chance.lognormvariate(-3, 1))] += 1
    Spans("w", "default").add({Kind("default", "default", tasks.add.module_path): tally})

"""A worker is as large and as whole after a million jobs as after the first hundred thousand.

TASKQ_TEST_LONG=1 has it run a million; else some thousands.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Count
from django.test import Client
from django.urls import reverse

from taskq_django.models import JobAttempt, JobResult, QueuedJob
from tests.app import many
from tests.support.scale import scaled
from tests.support.usage import Usage, others_connected, seconds_of, usage_of
from tests.support.workers import RealWorker, wait_for

pytestmark = [
    pytest.mark.long,
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

TENTHS = 10
TENTH = scaled(100_000, 1_000)  # jobs
AHEAD = 20_000  # jobs that wait at most
AT_ONCE = 1_000
KIBIBYTE = "x" * 1024
# Of a hundred jobs. How each ends: with which status, after how many attempts.
KINDS: dict[Any, tuple[int, tuple[str, ...], tuple[str, int]]] = {
    many.nothing: (70, (), ("SUCCESSFUL", 1)),
    many.anothing: (10, (), ("SUCCESSFUL", 1)),
    many.carry: (10, (KIBIBYTE,), ("SUCCESSFUL", 1)),
    many.speak: (5, (), ("SUCCESSFUL", 1)),
    many.fail_once: (3, (), ("SUCCESSFUL", 2)),
    many.fail: (2, (), ("FAILED", 1)),
}
GROWTH = 5.0  # MiB, from the second tenth to the last
# Seconds. A long run has the machine for itself; other tests run beside a short one.
LOOK = scaled(2.0, 20.0)  # it counts the last 100,000 ends of each kind
PAGE = scaled(1.0, 20.0)


@dataclass(frozen=True, slots=True)
class Look:
    """At a worker that has nothing to do."""

    processes: dict[int, Usage]
    connections: int
    rate: float  # jobs a second before it

    @property
    def mib(self) -> float:
        return sum(usage.mib for usage in self.processes.values())

    @property
    def own(self) -> float:
        return sum(usage.own for usage in self.processes.values())

    @property
    def handles(self) -> tuple[dict[int, tuple[int, int]], int]:
        """The files and threads of each process, and the connections of all."""
        return {pid: (each.files, each.threads) for pid, each in self.processes.items()}, self.connections


@pytest.mark.timeout(scaled(3600, 300))
def test_a_worker_keeps_nothing_of_the_jobs_that_it_has_run(
    start_worker: Callable[..., RealWorker], admin_client: Client, record_property: Callable[[str, object], None]
) -> None:
    worker = start_worker().wait_until_ready()
    wait_for(worker.children, what=lambda: worker.output)
    looks = [run_a_tenth(worker) for _ in range(TENTHS)]

    growth = looks[-1].own - looks[1].own
    record_property("jobs", TENTHS * TENTH)
    record_property("jobs a second, by tenth", shown(look.rate for look in looks))
    record_property("MiB of all its processes, by tenth", shown(look.mib for look in looks))
    record_property("growth since the second (MiB)", f"{growth:.2f}")
    record_property("files and threads by process, connections", looks[-1].handles)
    check_ends()
    check_pages(admin_client, record_property)
    assert growth <= GROWTH, shown(look.own for look in looks)
    assert looks[-1].handles == looks[1].handles


def run_a_tenth(worker: RealWorker) -> Look:
    def told() -> str:
        return worker.output[-3000:]

    begun = time.monotonic()
    for number in range(0, TENTH, AT_ONCE):
        if number % (AHEAD // 2) == 0:
            wait_for(lambda: QueuedJob.objects.count() <= AHEAD // 2, timeout=300, what=told)
        for task, (share, args, _) in KINDS.items():
            task.enqueue_many([args] * (share * AT_ONCE // 100))
    wait_for(lambda: not QueuedJob.objects.exists(), timeout=300, what=told)
    rate = TENTH / (time.monotonic() - begun)
    pids = [worker.process.pid, *worker.children()]
    return Look({pid: usage_of(pid) for pid in pids}, others_connected(), rate)


def check_ends() -> None:
    """Each job has ended as its task says, and once."""
    ended = JobResult.objects.values_list("task_path", "status", "attempts").annotate(Count("id"))
    expected = {(task.module_path, *end): share * TENTH * TENTHS // 100 for task, (share, _, end) in KINDS.items()}
    assert {(path, status, attempts): count for path, status, attempts, count in ended} == expected
    failed = sum(KINDS[task][0] for task in (many.fail, many.fail_once)) * TENTH * TENTHS // 100
    assert JobAttempt.objects.count() == failed


def check_pages(client: Client, record_property: Callable[[str, object], None]) -> None:
    """The history that they have left slows no page down."""
    url = reverse("admin:taskq_django_jobresult_changelist")
    asked: dict[str, Callable[[], Any]] = {
        "page of results": lambda: client.get(url),
        "page of failures": lambda: client.get(url, {"status": "FAILED"}),
        "page of one task": lambda: client.get(url, {"task": many.speak.module_path}),
        "page of one queue": lambda: client.get(url, {"queue": "default"}),
        "search for a path": lambda: client.get(url, {"q": "tests.app.many.f"}),
    }
    seconds = {name: seconds_of(act) for name, act in asked.items()}
    status = seconds_of(lambda: call_command("taskq_status", stdout=StringIO()))
    record_property("with all results: ms", {name: round(each * 1000) for name, each in seconds.items()})
    record_property("with all results, taskq_status: ms", round(status * 1000))
    assert max(seconds.values()) < PAGE, seconds
    assert status < LOOK


def shown(figures: Iterable[float]) -> str:
    return " ".join(f"{figure:.1f}" if figure < 1000 else f"{figure:.0f}" for figure in figures)

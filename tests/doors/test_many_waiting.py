"""With a million jobs that wait, what people and workers ask takes no longer than with a few thousand.

TASKQ_TEST_LONG=1 has a million wait; else some thousands.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from statistics import fmean
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from taskq_django.brokers.base import Broker
from taskq_django.compat import task_backends
from taskq_django.jobs import Succeeded
from taskq_django.status import read_status
from tests.app import many, tasks
from tests.support.scale import scaled
from tests.support.usage import cpu_seconds, seconds_of

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(scaled(1800, 300)),
]
Note = Callable[[str, object], None]

WAITING = scaled(1_000_000, 10_000)
AT_ONCE = 10_000
BATCH, ROUNDS = 100, scaled(100, 20)
# Times. Few are measured in a short run, and of MariaDB the CPU of one statement is not known.
SLOWER = scaled(1.1 if connection.vendor != "mysql" else 3.0, 3.0)
# Seconds, on a machine that does much else meanwhile. A short run finds only what is slow with any number.
PAGE = scaled(1.0, 5.0)
LOOK = scaled(2.0, 5.0)  # it counts the index of what waits, and the last ends
# Of MariaDB the time that has passed is measured: what else the machine does makes some rounds longer.
OF_ALL_ROUNDS: Callable[[list[float]], float] = min if connection.vendor == "mysql" else fmean


def enqueue_all() -> float:
    """Jobs a second."""
    begun = time.monotonic()
    for _ in range(WAITING // AT_ONCE):
        tasks.add.enqueue_many([(n,) for n in range(AT_ONCE)])
    return WAITING / (time.monotonic() - begun)


def work(broker: Broker) -> dict[str, float]:
    """Milliseconds of CPU of a claim and of a settle of BATCH, and of an enqueue of one."""
    taken: dict[str, list[float]] = {"claim": [], "settle": [], "enqueue": []}

    def take(what: str, act: Callable[[], Any]) -> Any:
        begun = cpu_seconds()
        got = act()
        taken[what].append(cpu_seconds() - begun)
        return got

    for _ in range(ROUNDS):
        claims = take("claim", lambda: broker.claim(["default"], BATCH, "w1"))
        outcomes = [Succeeded(claim, 0.0, 0.0, "3") for claim in claims]
        assert len(take("settle", lambda: broker.settle(outcomes, "w1"))) == BATCH  # noqa: B023 - called at once
        take("enqueue", lambda: tasks.add.enqueue(1))
    return {what: OF_ALL_ROUNDS(seconds) * 1000 for what, seconds in taken.items()}


def test_a_claim_and_a_settle_cost_what_they_cost_with_few(record_property: Note) -> None:
    broker: Broker = task_backends["default"].broker  # type: ignore[attr-defined]
    tasks.add.enqueue_many([(1,)] * (3 * ROUNDS * BATCH))
    work(broker)  # until all is prepared
    few = work(broker)
    record_property("jobs enqueued a second, in calls of 10,000", round(enqueue_all()))
    full = work(broker)

    for what in few:
        record_property(f"ms of CPU of {what}, few and {WAITING}", f"{few[what]:.2f} {full[what]:.2f}")
    slower = {what: full[what] / few[what] for what in ("claim", "settle")}
    assert max(slower.values()) <= SLOWER, (few, full)


def test_the_admin_and_the_commands_answer_as_if_they_were_few(admin_client: Client, record_property: Note) -> None:
    enqueue_all()
    tasks.add.using(run_after=timedelta(hours=1)).enqueue_many([(1,)] * AT_ONCE)
    result = many.nothing.enqueue()
    url = reverse("admin:taskq_django_queuedjob_changelist")
    # The rarest is found last, or not at all.
    queries: dict[str, dict[str, str]] = {
        "first page": {},
        "last page that is shown": {"p": "200"},
        "oldest first": {"o": "5"},
        "by status": {"status": "RUNNING"},
        "by task": {"task": many.fail.module_path},
        "by queue": {"queue": "default"},
        "search for a path": {"q": "tests.app.many.f"},
        "search for an id": {"q": str(result.id)},
    }
    for name, query in queries.items():
        assert admin_client.get(url, query).status_code == 200, name
    pages = {name: seconds_of(lambda query=query: admin_client.get(url, query)) for name, query in queries.items()}  # type: ignore[misc]
    job_url = reverse("admin:taskq_django_job", args=[result.id])
    pages["page of a job"] = seconds_of(lambda: admin_client.get(job_url))
    pages["front page"] = seconds_of(lambda: admin_client.get(reverse("admin:index")))
    looks = {
        "taskq_status": seconds_of(lambda: call_command("taskq_status", stdout=StringIO())),
        "taskq_health": seconds_of(health),
        "cancel of one": seconds_of(lambda: tasks.add.enqueue(1).cancel()),
    }

    record_property(f"{WAITING} waiting, pages: ms", in_ms(pages))
    record_property(f"{WAITING} waiting, looks: ms", in_ms(looks))
    (queue,) = read_status([task_backends["default"].broker]).queues  # type: ignore[attr-defined]
    assert (queue.ready, queue.scheduled) == (WAITING + 1, AT_ONCE)
    assert max(pages.values()) < PAGE, pages
    assert max(looks.values()) < LOOK, looks


def health() -> None:
    with pytest.raises(SystemExit):  # no worker is alive
        call_command("taskq_health", "--max-age", "60", stdout=StringIO())


def in_ms(seconds: dict[str, float]) -> dict[str, int]:
    return {name: round(each * 1000) for name, each in seconds.items()}

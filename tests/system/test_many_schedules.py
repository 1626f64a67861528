"""Very many schedules that are due at one moment: two beats fire each once, soon, and without growing.

TASKQ_TEST_LONG=1 makes 100,000 of them; else a thousand.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db.models import Max
from django.test import Client
from django.urls import reverse

from taskq_django.conf import Beat
from taskq_django.models import QueuedJob, Schedule, ScheduleRun
from taskq_django.models.moments import database_now
from tests.support.scale import scaled
from tests.support.usage import seconds_of, usage_of
from tests.support.workers import RealBeat, wait_for

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(scaled(1800, 300)),
]
Note = Callable[[str, object], None]

AT_ONCE = scaled(100_000, 1_000)
SECOND = timedelta(seconds=1)
BATCH = Beat().batch
GROWTH = 10.0  # MiB of a beat while it fires them
# Seconds. A long run has the machine for itself; other tests run beside a short one.
PAUSE = scaled(1.0, 20.0)  # between two ticks of either
PAGE = scaled(1.0, 20.0)


def make_schedules() -> None:
    """Half of each kind, without a slot; the one after the next is hours away."""
    hour = (datetime.now(UTC).hour + 12) % 24
    Schedule.objects.bulk_create(
        (
            Schedule(
                name=f"s{n:06}",
                task_path="tests.app.tasks.add",
                args=[n],
                enabled=False,
                timezone="Europe/Berlin",
                **({"kind": "interval", "spec": "1 day"} if n % 2 else {"spec": f"17 {hour} * * *"}),
            )
            for n in range(AT_ONCE)
        ),
        batch_size=1000,
    )


def test_all_that_are_due_at_once_are_fired_once_and_keep_no_other_for_long(
    start_beat: Callable[..., RealBeat], admin_client: Client, record_property: Note
) -> None:
    make_schedules()
    beats = [start_beat().wait_until_ready() for _ in range(2)]
    given = {"task_path": "tests.app.tasks.add", "args": [1], "kind": "interval", "spec": "1 second"}
    others = [Schedule.objects.create(name=f"each second {n}", **given) for n in range(10)]
    wait_for(others[-1].runs.exists, what=lambda: said(beats))
    before = [usage_of(beat.process.pid) for beat in beats]
    slot = database_now("default").replace(microsecond=0) + scaled(10, 2) * SECOND
    Schedule.objects.filter(enabled=False).update(enabled=True, next_run_at=slot)

    most = [usage.own for usage in before]
    for sizes in sizes_until_fired(beats, slot):
        most = list(map(max, most, sizes))
    wait_for(lambda: others[0].runs.filter(slot__gt=database_now("default") - 2 * SECOND).exists())
    stop(beats)

    runs = ScheduleRun.objects.filter(slot=slot, schedule__name__startswith="s")
    ticked = sorted(Counter(runs.values_list("enqueued_at", flat=True)).items())
    moments = [moment for moment, _ in ticked]
    record_property("schedules due at once", AT_ONCE)
    record_property("all fired after (s)", f"{(moments[-1] - slot).total_seconds():.1f}")
    pause = max((b - a).total_seconds() for a, b in pairwise([slot, *moments]))
    record_property("longest time between two ticks (s)", f"{pause:.2f}")
    grown = [after - usage.own for usage, after in zip(before, most, strict=True)]
    record_property("growth of each beat (MiB)", " ".join(f"{mib:.1f}" for mib in grown))
    late = max(latest(other) for other in others)
    record_property("one that came due meanwhile was late by (s)", f"{late:.1f}")

    assert runs.count() == runs.values("schedule").distinct().count() == AT_ONCE
    assert set(Schedule.objects.exclude(spec="1 second").values_list("run_count", "broken")) == {(1, "")}
    assert QueuedJob.objects.count() == ScheduleRun.objects.count()
    assert max(count for _, count in ticked) <= BATCH
    assert pause <= PAUSE
    assert max(grown) <= GROWTH
    assert late <= (moments[-1] - slot).total_seconds() + PAUSE, "what is due later comes after them, and at once then"
    check_pages(admin_client, record_property)


def sizes_until_fired(beats: list[RealBeat], slot: datetime) -> Iterator[list[float]]:
    waiting = Schedule.objects.filter(enabled=True, next_run_at=slot)
    deadline = time.monotonic() + scaled(900, 200)
    while waiting.exists():
        assert time.monotonic() < deadline, f"{waiting.count()} are left\n{said(beats)}"
        yield [usage_of(beat.process.pid).own for beat in beats]
        time.sleep(0.1)  # between two looks at them


def latest(schedule: Schedule) -> float:
    """Seconds from a slot to its job."""
    runs = schedule.runs.values_list("slot", "enqueued_at")
    return max((enqueued - slot).total_seconds() for slot, enqueued in runs)


def stop(beats: list[RealBeat]) -> None:
    for beat in beats:
        beat.send(signal.SIGTERM)
    for beat in beats:
        assert beat.wait() == 0, said([beat])
        assert "next try in" not in beat.output
        assert "Traceback" not in beat.output


def said(beats: list[RealBeat]) -> str:
    return "\n---\n".join(beat.output[-3000:] for beat in beats)


def check_pages(client: Client, record_property: Note) -> None:
    url = reverse("admin:taskq_django_schedule_changelist")
    last = Schedule.objects.aggregate(Max("pk"))["pk__max"]
    queries: dict[str, dict[str, Any]] = {
        "first page": {},
        "by next run": {"o": "4"},
        "by last run": {"o": "-5"},
        "last page": {"p": AT_ONCE // 50},
        "search": {"q": "s000777"},
    }
    for query in queries.values():
        assert client.get(url, query).status_code == 200
    pages = {name: seconds_of(lambda query=query: client.get(url, query)) for name, query in queries.items()}  # type: ignore[misc]
    change = reverse("admin:taskq_django_schedule_change", args=[last])
    pages["one of them"] = seconds_of(lambda: client.get(change))
    record_property("pages: ms", {name: round(seconds * 1000) for name, seconds in pages.items()})
    assert max(pages.values()) < PAGE, pages

"""Real beats that are killed, stopped and cut off: each slot is enqueued once, and nobody waits long."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from taskq_django.models import JobResult, QueuedJob, Schedule, ScheduleRun, WorkerProcess
from taskq_django.models.moments import database_now
from tests.support.servers import Server, is_gone
from tests.support.workers import ROOT, RealBeat, RealWorker, wait_for

StartBeat = Callable[..., RealBeat]
StartWorker = Callable[..., RealWorker]

# How long beats are killed at random; TASKQ_TEST_BEAT_SECONDS=120 is a soak.
SECONDS = float(os.environ.get("TASKQ_TEST_BEAT_SECONDS", "30"))
SECOND = timedelta(seconds=1)


def each_second(name: str = "each second") -> Schedule:
    given = {"task_path": "tests.app.tasks.add", "args": [1], "kind": "interval", "spec": "1 second"}
    return Schedule.objects.create(name=name, **given)


def far_away(name: str = "far away") -> Schedule:
    given = {"task_path": "tests.app.tasks.add", "args": [1], "spec": "0 0 1 1 *"}
    return Schedule.objects.create(name=name, **given)


def wait_for_runs(row: Schedule, count: int, services: Sequence[RealWorker]) -> None:
    """So many more."""
    seen = row.runs.count()
    wait_for(lambda: row.runs.count() >= seen + count, what=lambda: logs(services))


def logs(services: Sequence[RealWorker]) -> str:
    return "\n---\n".join(service.output for service in services)


def stop(services: Sequence[RealWorker]) -> None:
    """As an operator does; each ends well."""
    for service in services:
        service.send(signal.SIGTERM)
    for service in services:
        assert service.wait() == 0, service.output
        assert "Traceback" not in service.output, service.output


def check_each_slot_once(row: Schedule) -> list[datetime]:
    """From the first to the last of them; nobody may be firing. Returns them."""
    runs = list(row.runs.order_by("slot").values_list("slot", "job_id"))
    slots = [slot for slot, _ in runs]
    assert slots == [slots[0] + n * SECOND for n in range(len(slots))]
    jobs = {*QueuedJob.objects.values_list("id", flat=True), *JobResult.objects.values_list("id", flat=True)}
    assert {job for _, job in runs} <= jobs, "a run has its job"
    assert len(jobs) == ScheduleRun.objects.count(), "and a job its run"
    row.refresh_from_db()
    assert (row.run_count, row.next_run_at, row.broken) == (len(slots), slots[-1] + SECOND, "")
    return slots


@pytest.mark.timeout(SECONDS + 300)
def test_beats_that_are_killed_at_any_moment_enqueue_each_slot_once(start_beat: StartBeat) -> None:
    row = each_second()
    beats = [start_beat().wait_until_ready() for _ in range(3)]
    ended: list[RealBeat] = []
    begun = time.monotonic()
    while time.monotonic() < begun + SECONDS:
        time.sleep(random.uniform(0, 1.5))  # at any point of what it does
        victim = random.choice(beats)
        victim.send_to_group(signal.SIGKILL)
        ended.append(victim)
        beats[beats.index(victim)] = start_beat()
    for beat in beats:
        beat.wait_until_ready()
    wait_for_runs(row, 2, beats)
    stop(beats)

    slots = check_each_slot_once(row)
    assert len(slots) >= SECONDS
    assert len(ended) > SECONDS / 4
    assert "missed" not in logs([*ended, *beats])


def test_one_beat_alone_fires_each_second_and_stops_when_it_is_asked_to(start_beat: StartBeat) -> None:
    row = each_second()
    beat = start_beat().wait_until_ready()
    wait_for_runs(row, 3, [beat])
    stop([beat])
    check_each_slot_once(row)


def saved_in_time(row: Schedule) -> bool:
    """With a first slot in two seconds. False: they were over before it was saved."""
    row.start_at = database_now("default").replace(microsecond=0) + timedelta(seconds=2)
    row.save()
    row.refresh_from_db()
    return row.next_run_at == row.start_at or row.runs.exists()


def test_an_edit_is_picked_up_within_a_second(start_beat: StartBeat) -> None:
    row, other = far_away(), each_second()
    beat = start_beat().wait_until_ready()
    wait_for_runs(other, 1, [beat])
    row.kind, row.spec = "interval", "1 hour"
    wait_for(lambda: saved_in_time(row))
    wait_for(row.runs.exists, what=lambda: beat.output)
    run = row.runs.get()
    assert run.enqueued_at - run.slot < timedelta(seconds=60), "one that had not seen it would have slept for an hour"

    other.enabled = False
    other.save()
    count = other.runs.count()
    wait_for_runs(each_second("a new one"), 2, [beat])
    assert other.runs.count() == count
    stop([beat])


STALL = """
import os, signal
from pathlib import Path
from taskq_django.signals import before_enqueue

def stop_here(sender, **kwargs):
    \"\"\"The first beat that comes here stops in the middle of its tick.\"\"\"
    try:
        Path({flag!r}).open("x").close()
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGSTOP)

before_enqueue.connect(stop_here)
"""


@pytest.mark.skipif(connection.vendor == "sqlite", reason="who is stopped as it writes an SQLite file holds up all")
def test_a_beat_that_is_stopped_in_the_middle_of_a_tick_holds_nobody_up_for_long(
    start_beat: StartBeat, settings_with: Callable[..., dict[str, str]], settings: Any, tmp_path: Path
) -> None:
    flag = tmp_path / "stopped"
    (tmp_path / "stalling.py").write_text(STALL.format(flag=str(flag)))
    env = settings_with(INSTALLED_APPS=[*settings.INSTALLED_APPS, "stalling"])
    other = start_beat().wait_until_ready()
    frozen = start_beat(env=env).wait_until_ready()
    held = each_second("held")
    wait_for(flag.exists, what=lambda: frozen.output)
    stopped_at = time.monotonic()
    count = held.runs.count()

    free = each_second("free")
    wait_for_runs(free, 2, [other])
    # After ten seconds the server ends the session of the one that is stopped: a slow machine may see nothing held.
    assert held.runs.count() == count or time.monotonic() > stopped_at + 5
    wait_for_runs(held, 2, [other])
    assert time.monotonic() - stopped_at < 50, "ten seconds, and some for a busy machine"

    frozen.send(signal.SIGCONT)
    wait_for(lambda: "answers again" in frozen.output, what=lambda: frozen.output)
    wait_for_runs(held, 2, [frozen, other])
    stop([frozen, other])
    check_each_slot_once(held)
    check_each_slot_once(free)


def test_beats_whose_own_clocks_are_wrong_follow_the_databases(start_beat: StartBeat, tmp_path: Path) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("its clock is that of the process")
    shutil.copy(ROOT / "tests/support/shifted_clock.py", tmp_path / "sitecustomize.py")
    row = each_second()
    shifts = (-30, 0, 30)
    beats = [
        start_beat(env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "TASKQ_TEST_SHIFT": str(shift)})
        for shift in shifts
    ]
    for beat in beats:
        beat.wait_until_ready()
    # An id begins with the time by the clock of the process that has made it.
    told: set[int] = set()

    def all_have_fired() -> bool:
        for id_, at in row.runs.values_list("job_id", "enqueued_at"):
            own = datetime.fromtimestamp((UUID(str(id_)).int >> 80) / 1000, UTC)
            told.add(round((own - at).total_seconds() / 30) * 30)
        return told == set(shifts)

    # Each comes first now and then: their looks are not at the same moments.
    wait_for(all_have_fired, timeout=60, what=lambda: f"{told} {logs(beats)}")
    stop(beats)

    check_each_slot_once(row)
    early = [run for run in row.runs.all() if run.enqueued_at < run.slot]
    assert early == []


# --- the worker's beat ------------------------------------------------------------------------------------------------


def beat_of(worker: RealWorker) -> int:
    """The process of the worker that is none of those that run jobs."""
    found: list[int] = []

    def look() -> bool:
        found[:] = set(worker.children()) - set(WorkerProcess.objects.values_list("pid", flat=True))
        return len(found) == 1 and WorkerProcess.objects.filter(pid__in=worker.children()).exists()

    wait_for(look, what=lambda: worker.output)
    return found[0]


def test_a_worker_starts_its_beat_again_when_it_dies(start_worker: StartWorker) -> None:
    row = each_second()
    worker = start_worker("-B").wait_until_ready()
    wait_for_runs(row, 1, [worker])
    first = beat_of(worker)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: is_gone(first) and beat_of(worker) != first, what=lambda: worker.output)
    wait_for_runs(row, 2, [worker])
    second = beat_of(worker)
    worker.send(signal.SIGTERM)

    assert worker.wait() == 0, worker.output
    assert "The beat died with exit code -9" in worker.output
    assert is_gone(second)
    check_each_slot_once(row)


def test_the_beat_of_a_worker_that_is_killed_ends(start_worker: StartWorker) -> None:
    row = each_second()
    worker = start_worker("-B").wait_until_ready()
    wait_for_runs(row, 1, [worker])
    beat = beat_of(worker)
    worker.send(signal.SIGKILL)
    wait_for(lambda: is_gone(beat), what=lambda: worker.output)
    check_each_slot_once(row)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_of_the_worker_stops_its_beat(start_worker: StartWorker, number: int) -> None:
    row = each_second()
    worker = start_worker("-B").wait_until_ready()
    wait_for_runs(row, 2, [worker])
    beat = beat_of(worker)
    worker.send_to_group(number)  # as a terminal sends it
    assert worker.wait() == 0, worker.output
    assert is_gone(beat)
    assert "Traceback" not in worker.output
    check_each_slot_once(row)


def test_a_worker_without_processes_has_its_beat_in_a_thread(start_worker: StartWorker) -> None:
    row = each_second()
    worker = start_worker("-B", "-p", "0").wait_until_ready()
    wait_for_runs(row, 2, [worker])
    stop([worker])
    check_each_slot_once(row)


# --- the database -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server")
def test_a_restart_of_the_database_is_survived(start_beat: StartBeat, server: Server, there: dict[str, str]) -> None:
    row = each_second()
    beats = [start_beat(env=there).wait_until_ready() for _ in range(2)]
    for _ in range(3):
        wait_for_runs(row, 2, beats)
        server.kill()
        connection.close()
        tries = [beat.output.count("next try in") for beat in beats]
        wait_for(
            lambda tries=tries: all(  # type: ignore[misc]
                beat.output.count("next try in") > count for beat, count in zip(beats, tries, strict=True)
            ),
            what=lambda: logs(beats),
        )
        server.start()
    wait_for_runs(row, 2, beats)
    stop(beats)
    check_each_slot_once(row)


# --- once -------------------------------------------------------------------------------------------------------------


def test_once_fires_what_is_due_and_ends(start_beat: StartBeat) -> None:
    due, later = far_away("due"), far_away("later")
    Schedule.objects.filter(pk=due.pk).update(next_run_at=database_now("default"))
    beat = start_beat("--once")
    assert beat.wait() == 0, beat.output
    assert "1 job enqueued" in beat.output
    assert (due.runs.count(), later.runs.count()) == (1, 0)


NEW_TASK = """
from taskq_django import cron, task

@task(schedule=cron("0 3 * * *", name="new in the code"))
def nightly() -> None: ...
"""


def test_a_dry_run_says_what_would_be_fired_and_changes_nothing(
    start_beat: StartBeat, settings_with: Callable[..., dict[str, str]], settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/tasks.py").write_text(NEW_TASK)
    env = settings_with(INSTALLED_APPS=[*settings.INSTALLED_APPS, "shop"])
    row = far_away("due")
    now = database_now("default").replace(microsecond=0)
    Schedule.objects.filter(pk=row.pk).update(next_run_at=now)
    before = list(Schedule.objects.values())

    beat = start_beat("--dry-run", "--hours", "24", env=env)

    assert beat.wait() == 0, beat.output
    assert "due  tests.app.tasks.add" in beat.output
    assert "03:00:00" in beat.output
    assert "new in the code  shop.tasks.nightly" in beat.output
    assert list(Schedule.objects.values()) == before
    assert not QueuedJob.objects.exists()

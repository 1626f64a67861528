"""What a tick promises on every database: each slot once, whoever looks, edits or fails meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext

from taskq_django import Discard, TaskContext, cron, every, signals, task
from taskq_django.beat import declared
from taskq_django.beat.adopting import adopt
from taskq_django.beat.firing import BrokenSchedule, enqueue_firings, firing_of, run_now
from taskq_django.beat.service import Beat, Watch
from taskq_django.beat.ticker import Ticked, Ticker
from taskq_django.conf import Beat as BeatSettings
from taskq_django.models import JobResult, QueuedJob, Schedule, ScheduleRun
from taskq_django.models.moments import database_now
from taskq_django.registry import registry
from taskq_django.schedules import SpecError
from taskq_django.store.connections import let_go
from taskq_django.testing import run_all
from tests import app
from tests.app import tasks

pytestmark = pytest.mark.django_db(transaction=True)

SLOT = datetime(2030, 3, 4, 12, 0, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def ticker(**settings: Any) -> Ticker:
    return Ticker("default", BeatSettings(**settings))


def hourly(name: str = "hourly", *, slot: datetime = SLOT, **fields: Any) -> Schedule:
    """One at each full hour that waits for ``slot``."""
    given = {"task_path": "tests.app.tasks.add", "args": [1], "spec": "0 * * * *", "timezone": "UTC"}
    row = Schedule.objects.create(name=name, **{**given, **fields})
    Schedule.objects.filter(pk=row.pk).update(next_run_at=slot, is_finished=False)
    row.refresh_from_db()
    return row


def overdue(**fields: Any) -> Schedule:
    """One that is due by the database's own clock, and was a second ago."""
    return hourly(slot=database_now("default") - SECOND, **fields)


def slots_of(row: Schedule) -> list[datetime]:
    return list(row.runs.order_by("slot").values_list("slot", flat=True))


@contextmanager
def receiver(signal: Signal, act: Callable[..., Any]) -> Iterator[None]:
    signal.connect(act)
    try:
        yield
    finally:
        signal.disconnect(act)


# --- once -------------------------------------------------------------------------------------------------------------


def test_a_due_schedule_enqueues_its_job_and_moves_on_to_its_next_slot() -> None:
    row = hourly()
    now = SLOT + SECOND

    assert ticker().tick(now) == Ticked(schedules=1, jobs=1)

    job, run = QueuedJob.objects.get(), row.runs.get()
    assert (job.task_path, job.payload, job.status) == ("tests.app.tasks.add", "[[1],{}]", "READY")
    assert (run.slot, run.job_id, run.by_hand) == (SLOT, job.id, False)
    version = row.version
    row.refresh_from_db()
    assert (row.next_run_at, row.last_run_at, row.run_count) == (SLOT + HOUR, now, 1)
    assert row.version == version + 1
    assert ticker().tick(now) == Ticked()


def test_nothing_fires_before_its_slot() -> None:
    hourly()
    assert ticker().tick(SLOT - SECOND) == Ticked()
    assert not QueuedJob.objects.exists()


def test_the_databases_clock_decides_where_none_is_given() -> None:
    overdue()
    hourly("far away")
    assert ticker().tick() == Ticked(1, 1)


def test_a_slot_that_comes_while_it_is_looked_for_is_fired_and_not_passed_over() -> None:
    begin = database_now("default")
    given = {"task_path": "tests.app.tasks.add", "args": [1], "spec": "0 * * * *", "timezone": "UTC"}
    moments = [begin + timedelta(milliseconds=n) for n in range(600)]
    Schedule.objects.bulk_create(
        Schedule(name=f"s{n}", next_run_at=moment, **given) for n, moment in enumerate(moments)
    )
    mine = ticker()
    while Schedule.objects.filter(next_run_at__lte=moments[-1]).exists():
        mine.tick()
    assert sorted(ScheduleRun.objects.values_list("slot", flat=True)) == moments


def test_the_job_carries_the_name_and_the_slot_of_its_schedule() -> None:
    row = hourly("daily report")
    ticker().tick(SLOT)
    told = json.loads(QueuedJob.objects.get().headers)["schedule"]
    assert told == {"id": row.pk, "name": "daily report", "slot": SLOT.isoformat(), "timezone": row.timezone}


def test_tickers_that_race_enqueue_each_slot_once() -> None:
    rows = [hourly(f"s{n}") for n in range(30)]
    hours, racers = 4, 3
    barrier, errors = threading.Barrier(racers), []

    def race() -> None:
        mine = ticker(batch=7)
        try:
            for hour in range(hours):
                barrier.wait(120)
                mine.look_ahead(3600)
                # Until all have moved on: what another holds comes to its turn there.
                while Schedule.objects.filter(next_run_at__lte=SLOT + hour * HOUR).exists():
                    mine.tick(SLOT + hour * HOUR + SECOND)
        except Exception as error:
            errors.append(error)
            barrier.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=race) for _ in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert errors == []
    assert QueuedJob.objects.count() == ScheduleRun.objects.count() == len(rows) * hours
    assert set(Schedule.objects.values_list("run_count", "next_run_at", "broken")) == {(hours, SLOT + hours * HOUR, "")}
    for row in rows:
        assert slots_of(row) == [SLOT + hour * HOUR for hour in range(hours)]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it locks the whole database")
def test_what_another_ticker_holds_keeps_no_other_schedule_waiting() -> None:
    held, free = hourly("held"), hourly("free", slot=SLOT + SECOND)
    mine, done = ticker(batch=1), []

    def tick() -> None:
        done.append(mine.tick(SLOT + 2 * SECOND))
        connection.close()

    with transaction.atomic():
        Schedule.objects.select_for_update().get(pk=held.pk)
        thread = threading.Thread(target=tick)
        thread.start()
        thread.join(60)

        assert done == [Ticked(1, 1)]
        assert free.runs.exists()
        assert not held.runs.exists()


def test_a_tick_that_is_rolled_back_enqueues_nothing_and_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    row = hourly()

    def fail(*args: Any) -> None:
        enqueue_firings(*args)
        raise OperationalError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr("taskq_django.beat.ticker.enqueue_firings", fail)
        with pytest.raises(OperationalError):
            ticker().tick(SLOT)
    assert not QueuedJob.objects.exists()
    assert slots_of(row) == []

    assert ticker().tick(SLOT) == Ticked(1, 1)


def test_a_slot_that_was_fired_before_is_passed_over_when_the_clock_goes_back() -> None:
    row = hourly()
    ticker().tick(SLOT)
    Schedule.objects.update(next_run_at=SLOT)

    assert ticker().tick(SLOT) == Ticked(schedules=1, jobs=0)

    assert QueuedJob.objects.count() == 1
    row.refresh_from_db()
    assert (row.next_run_at, row.broken) == (SLOT + HOUR, "")


def test_a_deleted_schedule_fires_no_more_and_its_jobs_stay() -> None:
    row = hourly()
    mine = ticker()
    mine.tick(SLOT)
    row.delete()
    assert mine.tick(SLOT + HOUR) == Ticked()
    assert QueuedJob.objects.count() == 1


# --- edits ------------------------------------------------------------------------------------------------------------


def test_an_edit_between_look_and_tick_wins() -> None:
    row = overdue()
    mine = ticker()
    assert mine.look_ahead(1.0) < 0  # type: ignore[operator]
    row.spec = "30 12 * * *"
    row.save()

    assert mine.tick() == Ticked()
    row.refresh_from_db()
    assert (row.next_run_at.minute, row.next_run_at.hour) == (30, 12)


def test_a_slot_computed_before_an_edit_is_not_used_after_it() -> None:
    row = hourly(slot=database_now("default") - SECOND)
    mine = ticker()
    mine.look_ahead(1.0)  # knows the slot after this one
    Schedule.objects.filter(pk=row.pk).update(spec="17 * * * *", version=row.version + 1)
    mine.tick()
    row.refresh_from_db()
    assert row.next_run_at.minute == 17


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": "* * * * *"},
        {"kind": "interval", "spec": "1 minute"},
        {"timezone": "Asia/Kathmandu"},
        {"start_at": SLOT - 3650 * 24 * HOUR},
        {"end_at": SLOT},
        {"max_runs": 7},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_an_edit_of_the_timing_plans_anew_from_now_and_never_causes_a_run(changes: dict[str, Any]) -> None:
    row = overdue()
    version = row.version
    for name, value in changes.items():
        setattr(row, name, value)
    row.save()

    assert ticker().tick() == Ticked()
    row.refresh_from_db()
    assert row.next_run_at > database_now("default")
    assert row.version == version + 1


def test_an_edit_of_anything_else_keeps_the_slot() -> None:
    row = overdue()
    due = row.next_run_at
    row.args, row.note = [5], "changed"
    row.save()
    row.refresh_from_db()
    assert row.next_run_at == due

    ticker().tick()
    assert QueuedJob.objects.get().payload == "[[5],{}]"


def test_what_save_is_not_asked_to_write_changes_nothing() -> None:
    row = overdue()
    due = row.next_run_at
    row.note, row.enabled = "changed", False
    row.save(update_fields=["note"])
    row.refresh_from_db()
    assert (row.enabled, row.next_run_at, row.note) == (True, due, "changed")


def test_a_spec_that_cannot_be_read_is_not_saved() -> None:
    row = overdue()
    row.spec = "61 * * * *"
    with pytest.raises(SpecError):
        row.save()
    row.refresh_from_db()
    assert row.spec == "0 * * * *"


def test_a_schedule_that_cannot_be_read_can_be_disabled() -> None:
    row = hourly()
    Schedule.objects.update(spec="61 * * * *")
    ticker().tick(SLOT)
    row.refresh_from_db()
    row.enabled = False
    row.save()
    row.refresh_from_db()
    assert (row.enabled, row.next_run_at, row.broken) == (False, None, "")

    row.enabled = True
    with pytest.raises(SpecError):
        row.save()


def test_a_disabled_schedule_runs_no_more_and_enabled_again_only_from_its_next_slot_on() -> None:
    row = overdue(misfire="all")
    row.enabled = False
    row.save()
    assert ticker().tick() == Ticked()

    row.enabled = True
    row.save()
    assert ticker().tick() == Ticked()
    row.refresh_from_db()
    assert row.next_run_at > database_now("default")


def test_a_schedule_that_a_query_disables_runs_no_more() -> None:
    overdue()
    mine = ticker()
    mine.look_ahead(1.0)
    Schedule.objects.update(enabled=False)
    assert mine.tick() == Ticked()


def test_rows_that_were_made_in_bulk_are_adopted() -> None:
    given = {"task_path": "tests.app.tasks.add", "args": [1], "timezone": "UTC"}
    Schedule.objects.bulk_create(
        [
            *(Schedule(name=f"good {n}", spec="0 * * * *", **given) for n in range(5)),
            Schedule(name="wrong", spec="every now and then", **given),
            Schedule(name="off", spec="0 * * * *", enabled=False, **given),
        ]
    )
    while adopt("default", 2):
        pass

    good = Schedule.objects.filter(name__startswith="good")
    assert all(moment > database_now("default") for moment in good.values_list("next_run_at", flat=True))
    wrong = Schedule.objects.get(name="wrong")
    assert wrong.next_run_at is None
    assert "must have five" in wrong.broken
    assert Schedule.objects.get(name="off").next_run_at is None
    assert ticker().tick() == Ticked(), "none of them was due"


# --- missed runs ------------------------------------------------------------------------------------------------------

LATE = SLOT + 2 * HOUR + timedelta(minutes=5)  # 12:00, 13:00 and 14:00 have passed


@pytest.mark.parametrize(
    ("fields", "hours"),
    [
        ({"misfire": "skip"}, []),
        ({"misfire": "once"}, [14]),
        ({"misfire": "all"}, [12, 13, 14]),
        ({"misfire": "all", "misfire_cap": 2}, [13, 14]),
        ({"misfire": "all", "misfire_grace": 3600}, [14]),
        ({"misfire": "once", "misfire_grace": 60}, []),
    ],
)
def test_what_becomes_of_missed_runs_is_as_the_schedule_says(fields: dict[str, Any], hours: list[int]) -> None:
    row = hourly(**fields)

    assert ticker().tick(LATE) == Ticked(1, len(hours))

    assert [slot.hour for slot in slots_of(row)] == hours
    row.refresh_from_db()
    assert (row.next_run_at, row.run_count) == (SLOT + 3 * HOUR, len(hours))


def test_a_run_that_is_only_late_is_not_missed() -> None:
    row = hourly(misfire="skip")
    assert ticker().tick(SLOT + 59 * SECOND) == Ticked(1, 1)
    assert ticker(missed_after=10).tick(SLOT + HOUR + 11 * SECOND) == Ticked(1, 0)
    assert slots_of(row) == [SLOT]


def test_the_last_of_missed_runs_is_not_skipped_when_it_is_in_time() -> None:
    row = hourly(misfire="skip")
    ticker().tick(SLOT + 2 * HOUR + SECOND)
    assert [slot.hour for slot in slots_of(row)] == [14]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_slot_is_skipped_while_the_last_job_has_not_ended() -> None:
    row = hourly(overlap="skip")
    mine = ticker()
    mine.tick(SLOT)
    assert mine.tick(SLOT + HOUR) == Ticked(1, 0)
    run_all()
    assert mine.tick(SLOT + 2 * HOUR) == Ticked(1, 1)

    assert [slot.hour for slot in slots_of(row)] == [12, 14]
    row.refresh_from_db()
    assert row.run_count == 2


def test_a_slot_is_skipped_while_a_job_that_was_asked_for_by_hand_has_not_ended() -> None:
    row = hourly(overlap="skip")
    run_now(row, "default")
    assert ticker().tick(SLOT) == Ticked(1, 0)


def test_of_missed_runs_that_must_not_overlap_one_is_made_up_for() -> None:
    hourly(overlap="skip", misfire="all")
    assert ticker().tick(LATE) == Ticked(1, 1)


def test_runs_may_overlap_where_nothing_else_is_said() -> None:
    hourly()
    mine = ticker()
    mine.tick(SLOT)
    assert mine.tick(SLOT + HOUR) == Ticked(1, 1)


def test_after_its_last_run_a_schedule_is_finished_until_it_may_run_more_often() -> None:
    row = hourly(max_runs=2, misfire="all")
    assert ticker().tick(LATE) == Ticked(1, 2)
    row.refresh_from_db()
    assert (row.next_run_at, row.is_finished, row.run_count) == (None, True, 2)
    assert adopt("default", 100, broken_too=True) == 0

    row.max_runs = 3
    row.save()
    row.refresh_from_db()
    assert not row.is_finished
    assert row.next_run_at > database_now("default")


def test_a_slot_at_the_end_still_runs_and_none_after_it() -> None:
    row = hourly(end_at=SLOT + HOUR)
    mine = ticker()
    mine.look_ahead(10 * 366 * 86_400)
    assert mine.tick(SLOT) == Ticked(1, 1)
    assert mine.tick(SLOT + HOUR) == Ticked(1, 1)
    row.refresh_from_db()
    assert (row.next_run_at, row.is_finished) == (None, True)


def test_missed_runs_after_the_end_are_not_made_up_for() -> None:
    row = hourly(end_at=SLOT + HOUR, misfire="all")
    ticker().tick(LATE)
    assert [slot.hour for slot in slots_of(row)] == [12, 13]


def test_an_end_that_a_query_sets_before_the_slot_is_heeded() -> None:
    row = hourly()
    mine = ticker()
    mine.look_ahead(10 * 366 * 86_400)
    Schedule.objects.filter(pk=row.pk).update(end_at=SLOT - SECOND)
    assert mine.tick(SLOT) == Ticked(1, 0)


def test_no_slot_comes_before_the_start_and_one_at_the_start_counts() -> None:
    given = {"task_path": "tests.app.tasks.add", "args": [1], "spec": "0 * * * *", "timezone": "UTC"}
    row = Schedule.objects.create(name="at", start_at=SLOT, **given)
    assert row.next_run_at == SLOT
    row = Schedule.objects.create(name="after", start_at=SLOT + SECOND, **given)
    assert row.next_run_at == SLOT + HOUR


def test_an_interval_counts_from_its_start() -> None:
    row = hourly(kind="interval", spec="90 minutes", start_at=SLOT)
    mine = ticker()
    for n in range(3):
        mine.tick(SLOT + n * 1.5 * HOUR)
    assert slots_of(row) == [SLOT, SLOT + 1.5 * HOUR, SLOT + 3 * HOUR]


def test_what_is_planned_once_runs_once() -> None:
    row = hourly(kind="once", spec="2030-03-04 12:00")
    mine = ticker()
    assert mine.tick(SLOT) == Ticked(1, 1)
    row.refresh_from_db()
    assert (row.next_run_at, row.is_finished, row.broken) == (None, True, "")


def test_jitter_puts_each_job_off_by_a_part_of_it() -> None:
    for n in range(30):
        hourly(f"s{n}", jitter=600)
    ticker().tick(SLOT)
    delays = [(job.run_after - job.enqueued_at).total_seconds() for job in QueuedJob.objects.all()]
    assert all(0 <= delay <= 600 for delay in delays)
    assert len({round(delay) for delay in delays}) > 10
    assert set(ScheduleRun.objects.values_list("slot", flat=True)) == {SLOT}


def test_its_job_expires_and_has_the_queue_and_the_priority_that_it_asks_for() -> None:
    hourly(expires=60, queue_name="mail", priority=-7)
    ticker().tick(SLOT)
    job = QueuedJob.objects.get()
    assert job.expires_at - job.enqueued_at == timedelta(seconds=60)
    assert (job.queue_name, job.rank) == ("mail", 7)


# --- broken ones ------------------------------------------------------------------------------------------------------

ELSEWHERE = {
    "default": {"BACKEND": "taskq_django.TaskqBackend"},
    "elsewhere": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": {"broker": "database://other"}},
}
UNFIRABLE = [
    ({"task_path": "tests.app.tasks.gone"}, "No task is registered as 'tests.app.tasks.gone'"),
    ({"args": []}, "x"),
    ({"args": [1], "kwargs": {"z": 1}}, "z"),
    ({"args": "text"}, "arguments cannot be read"),
    ({"kwargs": [1]}, "arguments cannot be read"),
    ({"args": {"$t": "?"}}, "arguments cannot be read"),
    ({"args": [{"$t": "no such tag", "v": 1}]}, "arguments cannot be read"),
    ({"backend": "nowhere"}, "nowhere"),
    ({"backend": "elsewhere"}, "one transaction"),
    ({"priority": 1000}, "priority"),
]
UNREADABLE = [
    ({"spec": "61 * * * *"}, "61"),
    ({"kind": "moonphase"}, "There is no kind 'moonphase'"),
    ({"timezone": "Europe/Atlantis"}, "Atlantis"),
]


@pytest.mark.parametrize(("changes", "reason"), UNFIRABLE)
def test_a_schedule_no_job_can_be_made_of_says_why_stops_no_other_and_is_healed_by_a_good_slot(
    changes: dict[str, Any], reason: str, settings: Any
) -> None:
    settings.TASKS = ELSEWHERE
    broken, good = hourly("broken"), hourly("good")
    before = {name: getattr(broken, name) for name in changes}
    Schedule.objects.filter(pk=broken.pk).update(**changes)

    assert ticker().tick(SLOT) == Ticked(2, 1)

    assert slots_of(good) == [SLOT]
    broken.refresh_from_db()
    assert reason in broken.broken
    assert (broken.next_run_at, broken.run_count, broken.is_finished) == (SLOT + HOUR, 0, False)
    Schedule.objects.filter(pk=broken.pk).update(**before)
    assert ticker().tick(SLOT + HOUR) == Ticked(2, 2)
    broken.refresh_from_db()
    assert (broken.broken, broken.run_count) == ("", 1)


@pytest.mark.parametrize(("changes", "reason"), UNREADABLE)
def test_a_schedule_that_cannot_be_read_says_why_stops_no_other_and_is_healed_by_an_edit(
    changes: dict[str, Any], reason: str
) -> None:
    broken, good = hourly("broken"), hourly("good")
    before = {name: getattr(broken, name) for name in changes}
    Schedule.objects.filter(pk=broken.pk).update(**changes)
    mine = ticker()
    mine.look_ahead(10 * 366 * 86_400)

    assert mine.tick(SLOT) == Ticked(2, 1)

    assert slots_of(good) == [SLOT]
    broken.refresh_from_db()
    assert reason in broken.broken
    assert (broken.next_run_at, broken.is_finished) == (None, False)
    assert adopt("default", 100) == 0, "it is not looked at again and again"
    for name, value in before.items():
        setattr(broken, name, value)
    broken.save()
    broken.refresh_from_db()
    assert broken.broken == ""
    assert broken.next_run_at > database_now("default")


def test_a_schedule_that_could_not_be_read_is_tried_again_for_the_code_may_have_changed() -> None:
    row = hourly()
    Schedule.objects.update(kind="moonphase")
    ticker().tick(SLOT)
    Schedule.objects.update(kind="cron")
    assert adopt("default", 100, broken_too=True) == 1
    row.refresh_from_db()
    assert row.broken == ""
    assert row.next_run_at is not None


def test_a_last_slot_that_could_not_be_fired_leaves_its_reason() -> None:
    row = hourly(kind="once", spec="2030-03-04 12:00", args=[])
    ticker().tick(SLOT)
    adopt("default", 100, broken_too=True)
    row.refresh_from_db()
    assert row.is_finished
    assert "x" in row.broken


def test_a_slot_that_could_not_be_fired_is_none_of_the_runs_that_are_left() -> None:
    row = hourly(max_runs=1, args=[])
    ticker().tick(SLOT)
    Schedule.objects.update(args=[1])
    assert ticker().tick(SLOT + HOUR) == Ticked(1, 1)
    row.refresh_from_db()
    assert (row.is_finished, row.broken) == (True, "")


@pytest.mark.parametrize(
    "error",
    [
        *map(ValueError, ["no, thanks", "NUL \0 and a lone \udc80 surrogate", "long " * 10_000, ""]),
        *(SystemExit(3), KeyboardInterrupt(), GeneratorExit(), tasks.Unspeakable()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_receiver_that_fails_breaks_its_own_schedule_only(error: BaseException) -> None:
    broken, good = hourly("broken", task_path="tests.app.tasks.echo"), hourly("good")

    def fail(sender: Any, job: Any, **kwargs: Any) -> None:
        if job.task_path.endswith("echo"):
            raise error

    with receiver(signals.before_enqueue, fail):
        assert ticker().tick(SLOT) == Ticked(2, 1)

    assert slots_of(good) == [SLOT]
    broken.refresh_from_db()
    assert f"A receiver of before_enqueue failed: {type(error).__name__}" in broken.broken
    assert broken.next_run_at == SLOT + HOUR


@pytest.mark.parametrize("what", ["SystemExit(3)", "KeyboardInterrupt", "GeneratorExit", "ImportError"])
def test_a_module_that_cannot_be_imported_breaks_its_own_schedule_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    name = f"rude_{what[:4].lower()}"
    (tmp_path / f"{name}.py").write_text(f"raise {what}\n\n@task\ndef never(): ...\n")
    monkeypatch.setattr(app, "__path__", [*app.__path__, str(tmp_path)])
    broken, good = hourly("broken", task_path=f"tests.app.{name}.never"), hourly("good")
    assert ticker().tick(SLOT) == Ticked(2, 1)
    assert slots_of(good) == [SLOT]
    broken.refresh_from_db()
    assert "cannot be imported" in broken.broken


def test_a_schedule_whose_tick_ends_the_session_is_left_behind_in_the_end() -> None:
    broken = hourly("broken", task_path="tests.app.tasks.echo")
    good = [hourly(f"good {n}") for n in range(12)]
    mine = ticker(batch=8)

    def cut(sender: Any, job: Any, **kwargs: Any) -> None:
        if job.task_path.endswith("echo"):
            connection.connection.close()  # as a server does while a receiver takes too long

    outages = 0
    with receiver(signals.before_enqueue, cut):
        while outages < 20 and Schedule.objects.filter(next_run_at=SLOT).exists():
            try:
                mine.tick(SLOT)
            except OperationalError:
                outages += 1
                let_go(connection)

    assert all(slots_of(row) == [SLOT] for row in good)
    broken.refresh_from_db()
    assert broken.broken
    assert (broken.next_run_at, broken.run_count) == (SLOT + HOUR, 0)


def test_an_outage_or_two_is_not_blamed_on_a_schedule() -> None:
    row = hourly()
    mine, left = ticker(), [1, 2, 3]

    def cut(sender: Any, **kwargs: Any) -> None:
        if left:
            left.pop()
            connection.connection.close()

    with receiver(signals.before_enqueue, cut):
        while left:
            with pytest.raises(OperationalError):
                mine.tick(SLOT)
            let_go(connection)
        assert mine.tick(SLOT) == Ticked(1, 1)
    row.refresh_from_db()
    assert row.broken == ""


def test_what_the_database_refuses_breaks_its_own_schedule_only() -> None:
    broken, good = hourly("broken", task_path="tests.app.tasks.echo"), hourly("good")
    table = connection.ops.quote_name("no_such_table")

    def fail(sender: Any, job: Any, **kwargs: Any) -> None:
        if job.task_path.endswith("echo"):
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT 1 FROM {table}")

    with receiver(signals.before_enqueue, fail):
        assert ticker().tick(SLOT).schedules == 2
    ticker().tick(SLOT + SECOND)

    assert slots_of(good) == [SLOT]
    broken.refresh_from_db()
    assert broken.broken
    assert broken.next_run_at == SLOT + HOUR
    assert not broken.runs.exists()


def test_a_number_that_json_does_not_know_never_reaches_a_task() -> None:
    row = hourly()
    try:
        Schedule.objects.filter(pk=row.pk).update(args=[float("nan")])
    except Exception:  # most databases refuse it themselves
        connection.close()
        return
    ticker().tick(SLOT)
    row.refresh_from_db()
    assert row.broken
    assert not QueuedJob.objects.exists()


# --- vetoes, runs by hand, signals ------------------------------------------------------------------------------------


def test_a_vetoed_slot_is_no_run_and_passes() -> None:
    row = hourly(max_runs=1)
    fired: list[Any] = []

    def veto(sender: Any, **kwargs: Any) -> None:
        raise Discard("not on Mondays")

    def note(sender: Any, slot: datetime, **kwargs: Any) -> None:
        fired.append(slot)

    with receiver(signals.schedule_fired, note):
        with receiver(signals.before_enqueue, veto):
            assert ticker().tick(SLOT) == Ticked(1, 0)
        row.refresh_from_db()
        assert (row.run_count, row.last_run_at, row.is_finished) == (0, None, False)
        assert (row.next_run_at, row.broken) == (SLOT + HOUR, "")
        result = JobResult.objects.get()
        assert (result.status, result.message, result.id) == ("CANCELLED", "not on Mondays", row.runs.get().job_id)

        assert ticker().tick(SLOT + HOUR) == Ticked(1, 1)
    assert fired == [SLOT + HOUR]


def test_who_listens_hears_of_a_slot_after_its_commit_and_can_lose_nothing() -> None:
    row = hourly()
    heard: list[Any] = []

    def listen(sender: Any, schedule: Schedule, slot: datetime, job: Any, **kwargs: Any) -> None:
        heard.append((schedule.pk, slot, job.id, connection.in_atomic_block))
        raise ValueError

    with receiver(signals.schedule_fired, listen):
        ticker().tick(SLOT)
    assert heard == [(row.pk, SLOT, str(QueuedJob.objects.get().id), False)]


def test_a_run_by_hand_moves_no_slot_and_is_not_counted() -> None:
    row = hourly(max_runs=1, jitter=600)

    id_ = run_now(row, "default").job.id

    job = QueuedJob.objects.get()
    assert (str(job.id), job.status) == (id_, "READY")
    run = row.runs.get()
    assert (run.by_hand, run.job_id) == (True, job.id)
    row.refresh_from_db()
    assert (row.next_run_at, row.run_count) == (SLOT, 0)
    assert ticker().tick(SLOT) == Ticked(1, 1)


def test_what_cannot_run_says_so_to_who_runs_it_by_hand() -> None:
    row = hourly(args=[])
    with pytest.raises(BrokenSchedule, match="x"):
        run_now(row, "default")
    assert not row.runs.exists()


def test_to_check_a_schedule_asks_no_receiver(capsys: pytest.CaptureFixture[str]) -> None:
    hourly()
    asked: list[Any] = []
    with receiver(signals.before_enqueue, lambda sender, job, **kwargs: asked.append(job)):
        call_command("taskq_schedules", "check")
    assert asked == []
    assert "can run" in capsys.readouterr().out
    hourly("wrong", args=[])
    with pytest.raises(CommandError, match="1 problem"):
        call_command("taskq_schedules", "check")


# --- many -------------------------------------------------------------------------------------------------------------


def test_a_thousand_that_are_due_at_once_fire_in_few_statements() -> None:
    given = {"task_path": "tests.app.tasks.add", "args": [1], "spec": "0 * * * *", "timezone": "UTC"}
    Schedule.objects.bulk_create(Schedule(name=f"s{n}", next_run_at=SLOT, **given) for n in range(1000))
    mine = ticker()
    with CaptureQueriesContext(connection) as queries:
        ticks = [mine.tick(SLOT) for _ in range(10)]

    assert ticks == [Ticked(100, 100)] * 10
    assert len(queries) <= 10 * 7, "BEGIN, three or four statements, and COMMIT"
    assert QueuedJob.objects.count() == ScheduleRun.objects.count() == 1000


def test_a_database_that_is_away_keeps_no_other_from_being_served(monkeypatch: pytest.MonkeyPatch) -> None:
    row = overdue()
    sync = declared.sync

    def unreachable(database: str) -> declared.Synced:
        if database == "other":
            raise OperationalError("no route to host")
        return sync(database)

    monkeypatch.setattr(declared, "sync", unreachable)
    beat = Beat(["other", "default"], BeatSettings())
    with receiver(signals.schedule_fired, lambda sender, **kwargs: beat.stop()):
        beat.run()
    assert row.runs.exists()


def test_a_database_with_very_many_due_schedules_keeps_no_other_waiting_until_all_are_fired() -> None:
    due, count = database_now("default") - SECOND, 300
    given = {"task_path": "tests.app.tasks.add", "args": [1], "spec": "0 0 1 1 *"}
    Schedule.objects.bulk_create(Schedule(name=f"s{n}", next_run_at=due, **given) for n in range(count))
    watch = Watch("default", BeatSettings(batch=1, max_sleep=0.05))

    while not ScheduleRun.objects.exists():
        assert watch.turn(lambda: False) == 0, "it goes on after the others"

    assert ScheduleRun.objects.count() < count
    while Schedule.objects.filter(next_run_at=due).exists():
        watch.turn(lambda: False)
    assert ScheduleRun.objects.count() == count


# --- a year -----------------------------------------------------------------------------------------------------------

CHANGES = {date(2027, 3, 28), date(2027, 4, 3), date(2027, 10, 2), date(2027, 10, 31)}
YEAR = datetime(2026, 12, 31, 23, 0, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)


def instants(spec: str, zone_name: str) -> list[datetime]:
    """When a fixed time of the day comes, by a walk over the minutes around it: in a gap when that ends, else first."""
    hour, minute = (int(part) for part in spec.split(":"))
    zone, found, day = ZoneInfo(zone_name), [], date(2026, 12, 30)
    while day < date(2028, 1, 3):
        moment = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        while True:
            local = moment.astimezone(zone)
            if (local.date(), local.hour, local.minute) >= (day, hour, minute):
                break
            moment += timedelta(minutes=1)
        found.append(moment)
        day += timedelta(days=1)
    return [moment for moment in found if YEAR[0] < moment <= YEAR[1]]


def steps(seconds: int) -> list[datetime]:
    count = int((YEAR[1] - YEAR[0]).total_seconds()) // seconds
    return [YEAR[0] + timedelta(seconds=seconds * n) for n in range(1, count + 1)]


@pytest.mark.once
def test_in_a_year_of_ticks_each_slot_comes_once_over_both_changes_of_the_clocks() -> None:
    expected = {
        ("cron", "30 2 * * *", "Europe/Berlin"): instants("2:30", "Europe/Berlin"),
        ("cron", "15 2 * * *", "Australia/Lord_Howe"): instants("2:15", "Australia/Lord_Howe"),
        ("cron", "45 1 * * *", "Australia/Lord_Howe"): instants("1:45", "Australia/Lord_Howe"),
        ("cron", "*/15 * * * *", "Europe/Berlin"): steps(900),
        ("interval", "7 hours", "Europe/Berlin"): steps(7 * 3600),
    }
    rows = {}
    for kind, spec, zone in expected:
        row = Schedule(name=f"{spec} {zone}", task_path="tests.app.tasks.add", args=[1], misfire="skip")
        row.kind, row.spec, row.timezone = kind, spec, zone
        row.created_at = YEAR[0]
        row.plan_from(YEAR[0])
        Schedule.objects.bulk_create([row])
        rows[kind, spec, zone] = row
    mine = ticker(missed_after=86_400)

    now = YEAR[0]
    while now < YEAR[1]:
        # Each quarter of an hour on the days when clocks change, else by the day.
        near = now.date() in CHANGES
        now = min(YEAR[1], now + timedelta(minutes=15 if near else 22 * 60))
        mine.tick(now)

    for key, row in rows.items():
        assert slots_of(row) == expected[key], row.name
        row.refresh_from_db()
        assert (row.run_count, row.broken) == (len(expected[key]), "")


# --- without USE_TZ ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York"])
def test_without_use_tz_slots_are_the_same_instants(zone: str, settings: Any) -> None:
    connection.close()  # a connection knows the zone that it was opened with
    settings.USE_TZ, settings.TIME_ZONE = False, zone
    try:
        now = database_now("default")
        row = Schedule.objects.create(name="it", task_path="tests.app.tasks.add", args=[1], spec="* * * * *")
        assert timedelta() < row.next_run_at.replace(tzinfo=ZoneInfo(zone)) - now <= timedelta(minutes=1)
        mine = ticker()
        ahead = mine.look_ahead(61)
        assert ahead is not None
        assert 0 < ahead <= 60
        assert mine.tick() == Ticked()
        assert mine.tick(now + timedelta(minutes=1)) == Ticked(1, 1)
        row.refresh_from_db()
        assert row.next_run_at.replace(tzinfo=ZoneInfo(zone)) - now > timedelta(minutes=1)
    finally:
        connection.close()


# --- schedules in code ------------------------------------------------------------------------------------------------


def nightly() -> None: ...


def cleanup(days: int = 1) -> None: ...


PATH = f"{__name__}.nightly"


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the code say this, and nothing else."""

    def make(function: Any = nightly, schedule: Any = ()) -> None:
        monkeypatch.setattr(registry, "_tasks", {})
        monkeypatch.setattr(registry, "duplicates", [])
        if schedule:
            task(schedule=schedule)(function)

    return make


Declare = Callable[..., None]


def test_a_schedule_in_code_gets_a_row_once(declare: Declare) -> None:
    declare(schedule=cron("0 3 * * *", timezone="Europe/Berlin", note="every night"))
    assert declared.sync("default") == declared.Synced(created=1)
    assert declared.sync("default") == declared.Synced()
    row = Schedule.objects.get()
    assert (row.name, row.task_path, row.spec, row.timezone) == (PATH, PATH, "0 3 * * *", "Europe/Berlin")
    assert (row.note, row.enabled, row.next_run_at is not None) == ("every night", True, True)


def test_a_task_may_have_several(declare: Declare) -> None:
    declare(cleanup, [every(hours=1), cron("0 0 1 * *", name="monthly", args=[30])])
    assert declared.sync("default").created == 2
    assert dict(Schedule.objects.values_list("name", "spec")) == {
        f"{__name__}.cleanup": "1 hour",
        "monthly": "0 0 1 * *",
    }


def test_a_change_in_code_changes_the_row_and_plans_it_anew(declare: Declare) -> None:
    declare(schedule=cron("0 3 * * *"))
    declared.sync("default")
    declare(schedule=cron("0 4 * * *", timezone="UTC"))
    assert declared.sync("default") == declared.Synced(changed=1)
    row = Schedule.objects.get()
    assert row.next_run_at.hour == 4


def test_what_somebody_has_changed_or_disabled_stays_so(declare: Declare) -> None:
    declare(schedule=[cron("0 3 * * *", name="changed"), cron("0 3 * * *", name="disabled")])
    declared.sync("default")
    changed = Schedule.objects.get(name="changed")
    changed.spec, changed.is_overridden = "0 5 * * *", True
    changed.save()
    disabled = Schedule.objects.get(name="disabled")
    disabled.enabled = False
    disabled.save()

    declare(schedule=[cron("0 6 * * *", name="changed"), cron("0 6 * * *", name="disabled")])
    declared.sync("default")

    rows = dict(Schedule.objects.values_list("name", "spec"))
    assert rows == {"changed": "0 5 * * *", "disabled": "0 6 * * *"}
    assert not Schedule.objects.get(name="disabled").enabled
    assert declared.revert(changed, "default")
    assert Schedule.objects.get(name="changed").spec == "0 6 * * *"


def test_what_the_code_no_longer_declares_is_disabled_and_brought_back_with_it(declare: Declare) -> None:
    declare(schedule=cron("0 3 * * *"))
    declared.sync("default")
    by_hand = hourly("made in the admin")
    version = Schedule.objects.get(name=PATH).version
    declare()
    assert declared.sync("default") == declared.Synced(removed=1)
    row = Schedule.objects.get(name=PATH)
    assert row.version == version + 1  # a tick that has read the row before finds it changed
    assert (row.enabled, row.next_run_at, row.disabled_reason) == (False, None, declared.REMOVED)
    by_hand.refresh_from_db()
    assert by_hand.enabled

    declare(schedule=cron("0 3 * * *"))
    assert declared.sync("default") == declared.Synced(changed=1)
    row.refresh_from_db()
    assert (row.enabled, row.disabled_reason) == (True, "")
    assert row.next_run_at > database_now("default")


def test_a_row_that_cannot_be_read_does_not_stop_the_sync(declare: Declare) -> None:
    declare(schedule=[cron("0 3 * * *", name="a"), cron("0 3 * * *", name="b")])
    declared.sync("default")
    Schedule.objects.update(spec="61 * * * *")
    declare(schedule=cron("0 3 * * *", name="b"))
    assert declared.sync("default") == declared.Synced(changed=1, removed=1)
    assert dict(Schedule.objects.values_list("name", "enabled")) == {"a": False, "b": True}
    assert Schedule.objects.get(name="b").spec == "0 3 * * *"


def test_a_name_that_is_taken_costs_neither_its_row(declare: Declare) -> None:
    theirs = hourly("report")
    declare(schedule=cron("0 3 * * *", name="report"))
    declared.sync("default")
    assert dict(Schedule.objects.values_list("name", "declared_as")) == {"report": "", "report (code)": "report"}
    theirs.refresh_from_db()
    assert theirs.spec == "0 * * * *"


@pytest.mark.parametrize(
    "wrong",
    [
        cron("0 3 * * *", args=[1, 2, 3]),
        cron("0 3 * * *", jitter=-1),
        cron("0 3 * * *", misfire_cap=0),
        cron("0 3 * * *", priority=1000),
        cron("0 3 * * *", expires=0),
        cron("0 3 * * *", queue_name="q" * 65),
        cron("0 3 * * *", name="n" * 300),
    ],
    ids=["args", "jitter", "cap", "priority", "expires", "queue", "name"],
)
def test_a_wrong_schedule_in_code_is_said_and_stops_no_other(
    wrong: Any, declare: Declare, caplog: pytest.LogCaptureFixture
) -> None:
    declare(schedule=[wrong, cron("0 3 * * *", name="good")])
    assert declared.sync("default") == declared.Synced(created=1)
    assert Schedule.objects.get().name == "good"
    assert "is wrong" in caplog.text


def test_processes_that_sync_at_once_make_each_row_once(declare: Declare) -> None:
    declare(schedule=[every(hours=n, name=f"s{n}") for n in range(1, 8)])
    barrier, done, errors = threading.Barrier(3), [], []

    def sync() -> None:
        try:
            barrier.wait(120)
            done.append(declared.sync("default"))
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=sync) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert errors == []
    assert sorted(Schedule.objects.values_list("name", flat=True)) == [f"s{n}" for n in range(1, 8)]
    assert sum(each.created for each in done) == 7


def test_what_older_code_has_disabled_in_a_deploy_is_enabled_again(declare: Declare) -> None:
    declare(schedule=every(hours=1))
    declared.sync("default")
    declare()
    declared.sync("default")
    assert not Schedule.objects.get().enabled
    assert declared.restore("default") == 0  # this code does not know it either

    declare(schedule=every(hours=1))
    assert declared.restore("default") == 1
    row = Schedule.objects.get()
    assert (row.enabled, row.disabled_reason, row.next_run_at is not None) == (True, "", True)
    row.enabled = False
    row.save()
    assert declared.restore("default") == 0
    assert not Schedule.objects.get().enabled


# --- what a task knows of it ------------------------------------------------------------------------------------------

seen_slots: list[datetime | None] = []


@task(takes_context=True)
def look(context: TaskContext) -> None:
    seen_slots.append(context.slot)


def test_a_task_knows_the_slot_that_it_runs_for() -> None:
    seen_slots.clear()
    row = overdue(task_path=f"{__name__}.look", args=[])
    ticker().tick()
    look.enqueue()
    run_all()
    assert sorted(seen_slots, key=lambda slot: slot is None) == [*slots_of(row), None]


def test_only_what_is_enqueued_is_shown_to_receivers() -> None:
    row = overdue(task_path=f"{__name__}.look", args=[])
    asked: list[object] = []
    with receiver(signals.before_enqueue, lambda **kwargs: asked.append(kwargs["job"])):
        firing_of(row, SLOT, "default")
        assert asked == []
        run_now(row, "default")
        assert len(asked) == 1

"""Times are right whatever USE_TZ and TIME_ZONE say, on databases that know time zones and on those that do not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from taskq_django import task
from taskq_django.compat import InvalidTask, task_backends
from taskq_django.models import JobResult, QueuedJob
from taskq_django.testing import run_all
from tests.app import tasks

pytestmark = pytest.mark.django_db

KATHMANDU = timezone.get_fixed_timezone(345)


@pytest.fixture(params=["Asia/Kathmandu", "America/New_York", "UTC"])
def local(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = request.param


def is_now(moment: datetime) -> bool:
    return abs(moment - timezone.now()) < timedelta(seconds=60)


@pytest.mark.usefixtures("local")
def test_without_use_tz_all_times_are_local_and_naive() -> None:
    sent = tasks.add.enqueue(1)
    assert timezone.is_naive(sent.enqueued_at)
    assert is_now(sent.enqueued_at)
    assert sent == sent.task.get_backend().get_result(sent.id)
    run_all()
    row = JobResult.objects.get()
    for moment in (row.enqueued_at, row.started_at, row.finished_at):
        assert is_now(moment)
    sent.refresh()
    assert sent.finished_at == row.finished_at


@pytest.mark.usefixtures("local")
def test_without_use_tz_a_job_is_held_until_its_local_time() -> None:
    due = (timezone.now() + timedelta(hours=1)).replace(microsecond=0)
    sent = tasks.add.using(run_after=due).enqueue(1)
    assert sent.state == "SCHEDULED"
    assert sent == sent.task.get_backend().get_result(sent.id)
    assert QueuedJob.objects.get().available_at == due
    past = tasks.add.using(run_after=timezone.now() - timedelta(seconds=1)).enqueue(2)
    run_all()
    assert past.get() == 4
    assert QueuedJob.objects.filter(run_after__gt=due - timedelta(seconds=1)).count() == 1
    assert QueuedJob.objects.filter(run_after__gt=due + timedelta(seconds=1)).count() == 0


@pytest.mark.usefixtures("local")
def test_without_use_tz_what_is_stored_is_utc() -> None:
    tasks.add.enqueue(1)
    column = "enqueued_at AT TIME ZONE 'UTC'" if connection.vendor == "postgresql" else "enqueued_at"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM taskq_django_queuedjob")
        (stored,) = cursor.fetchone()
    stored = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    assert abs(stored.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(seconds=60)


def test_the_time_zone_of_a_database_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.features.supports_timezones:
        return  # Django lets such a database have none
    real = connections["default"]
    monkeypatch.setitem(real.settings_dict, "TIME_ZONE", "Europe/Berlin")
    for name in ("timezone", "timezone_name"):
        real.__dict__.pop(name, None)
    try:
        sent = tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1)
        assert sent == sent.task.get_backend().get_result(sent.id)
        done = tasks.add.enqueue(2)
        run_all()
        done.refresh()
        assert is_now(done.enqueued_at)
        assert is_now(done.finished_at)
        assert JobResult.objects.filter(finished_at__lt=timezone.now()).exists()
        assert not JobResult.objects.filter(finished_at__lt=timezone.now() - timedelta(minutes=5)).exists()
    finally:
        monkeypatch.undo()
        for name in ("timezone", "timezone_name"):
            real.__dict__.pop(name, None)


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    due = (datetime.now(UTC) + timedelta(hours=1)).astimezone(KATHMANDU)
    sent = tasks.add.using(run_after=due).enqueue(1)
    assert QueuedJob.objects.get().available_at == due
    assert sent == sent.task.get_backend().get_result(sent.id)


@pytest.mark.parametrize(
    ("run_after", "expires"),
    [
        (datetime.max.replace(tzinfo=timezone.get_fixed_timezone(-300)), None),
        (datetime.min.replace(tzinfo=KATHMANDU), None),
        (datetime.max.replace(tzinfo=UTC), 1.0),
    ],
    ids=["the end", "the beginning", "expires after the end"],
)
def test_a_moment_that_no_database_has_is_refused_where_it_is_said(run_after: datetime, expires: float | None) -> None:
    add = task(expires=expires)(tasks.add.func)
    with pytest.raises(InvalidTask, match=f"run_after is {re.escape(str(run_after))}.*years 1 to 9999 in UTC"):
        add.using(run_after=run_after)
    given = task_backends["default"].task_class(func=tasks.add.func, priority=0, backend="default", expires=expires)
    object.__setattr__(given, "run_after", run_after)  # by another hand than ``using``
    with pytest.raises(InvalidTask, match="years 1 to 9999"):
        given.enqueue(1)
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("America/New_York", datetime.max),  # noqa: DTZ901 - naive by intent
        ("Asia/Kathmandu", datetime.min),  # noqa: DTZ901
        ("Asia/Kathmandu", datetime.max.replace(tzinfo=UTC)),
    ],
    ids=["the end", "the beginning", "the end, read by the local clock"],
)
def test_without_use_tz_it_is_refused_too(settings: Any, zone: str, moment: datetime) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, zone
    with pytest.raises(InvalidTask, match="years 1 to 9999"):
        tasks.add.using(run_after=moment)

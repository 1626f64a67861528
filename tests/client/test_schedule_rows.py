"""Rows of schedules that are wrong, and what can still be done with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command

from taskq_django import every
from taskq_django.beat import declared
from taskq_django.exceptions import SpecError
from taskq_django.models import Schedule
from taskq_django.registry import registry
from tests.app import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def unreadable() -> Schedule:
    schedule = Schedule.objects.create(name="one", task_path=tasks.add.module_path, args=[1], spec="0 3 * * *")
    Schedule.objects.filter(pk=schedule.pk).update(spec="every now and then")
    schedule.refresh_from_db()
    return schedule


def test_a_schedule_whose_time_cannot_be_read_can_be_disabled(unreadable: Schedule) -> None:
    call_command("taskq_schedules", "disable", "one")

    unreadable.refresh_from_db()
    assert not unreadable.enabled
    unreadable.enabled = True
    with pytest.raises(SpecError):
        unreadable.save()


def test_a_spec_that_cannot_be_read_is_refused_though_it_is_disabled() -> None:
    schedule = Schedule.objects.create(name="one", task_path=tasks.add.module_path, spec="0 3 * * *", enabled=False)

    schedule.spec = "every now and then"
    with pytest.raises(SpecError):
        schedule.save()


def test_of_two_schedules_in_code_with_one_name_the_second_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nightly = every(hours=24, name="nightly", args=[1])
    found = [replace(tasks.add, schedule=nightly), replace(tasks.echo, schedule=nightly)]
    monkeypatch.setattr(registry, "all", lambda: found)

    assert declared.sync("default").created == 1
    assert declared.sync("default") == declared.Synced()

    assert Schedule.objects.get().task_path == tasks.add.module_path
    assert f"'nightly' of {tasks.echo.module_path} in code is wrong" in caplog.text


def test_check_finds_arguments_in_code_that_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "all", lambda: [replace(tasks.add, schedule=every(hours=1, kwargs={"z": 1}))])

    with pytest.raises(CommandError, match="1 problem of"):
        call_command("taskq_schedules", "check")
    assert "tests.app.tasks.add, in code: tests.app.tasks.add(" in capsys.readouterr().out

"""Nothing of ours speaks before our checks: a mistake is one check error and no traceback, in a new project too."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from pytest_django import Settings

from taskq_django.conf import sections
from tests.support.wrong_settings import WRONG

OURS = "taskq_django.TaskqBackend"
# Django 5.2 on a Python where its backport is not installed.
WITHOUT_FRAMEWORK = """
import sys, django
django.VERSION = (5, 2, 0, "final", 0)
sys.modules["django_tasks"] = sys.modules["django.tasks"] = None
"""
Manage = Callable[..., "subprocess.CompletedProcess[str]"]


def the_errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The ids of what the checks say, and that nothing else is said."""
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    assert done.returncode == 1
    return [line.partition("(")[2].partition(")")[0] for line in done.stderr.splitlines() if line.startswith("?: ")]


@pytest.mark.django_db(databases=["default", "other"])  # some checks of Django itself connect
@pytest.mark.parametrize("taskq", WRONG.values(), ids=WRONG)
def test_a_mistake_in_taskq_is_one_error_of_check(taskq: Any) -> None:
    with override_settings(TASKQ=taskq), pytest.raises(SystemCheckError) as found:
        call_command("check", stdout=StringIO(), stderr=StringIO())
    assert str(found.value).count("(taskq_django.E00") == 1
    assert "identified 1 issue" in str(found.value)


@pytest.mark.django_db(databases=["default", "other"])
def test_no_check_of_django_reads_our_settings_where_they_could_raise(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TASKQ = {"WORKR": {}}
    asked: list[object] = []
    monkeypatch.setattr(sections, "refuse", lambda found: asked.extend(found))
    with pytest.raises(SystemCheckError):
        call_command("check", stdout=StringIO())
    assert asked == []


@pytest.mark.once
@pytest.mark.parametrize("name", ["list", "section", "nan", "negative", "lease", "page", "redact", "queues"])
def test_a_mistake_in_taskq_is_one_error_in_a_new_project(manage: Manage, name: str) -> None:
    assert len(the_errors(manage("check", TASKQ=WRONG[name]))) == 1


@pytest.mark.once
@pytest.mark.parametrize(
    "command",
    [
        ("migrate",),
        ("makemigrations", "--dry-run"),
        ("showmigrations",),
        ("runserver", "--noreload", "0"),
        ("createsuperuser", "--noinput"),
        ("taskq_status",),
    ],
    ids=lambda command: command[0],
)
def test_every_command_says_the_same(manage: Manage, command: tuple[str, ...]) -> None:
    assert the_errors(manage(*command, TASKQ={"WORKR": {}})) == ["taskq_django.E002"]


@pytest.mark.once
def test_a_shell_starts_with_wrong_settings(manage: Manage) -> None:
    done = manage("shell", stdin="from shop.tasks import add; print('sum', add(1))", TASKQ={"WORKR": {}})
    assert "sum 3" in done.stdout, done.stderr


@pytest.mark.once
@pytest.mark.parametrize(
    ("tasks", "ids", "words"),
    [
        (
            {"default": {"BACKEND": OURS, "QUEUES": ["mail"]}},
            ["E017"],
            [
                'The task shop.tasks.add waits in the queue "default"',
                'TASKS["default"]["QUEUES"] has "mail" only',
                "@task(",
            ],
        ),
        ({"default": {"BACKEND": OURS, "QUEUES": ["x", "y"]}}, ["E017", "E017"], ["shop.tasks.hide", '"x", "y" only']),
        ({"default": {"BACKEND": OURS, "QUEUES": "mail"}}, ["E007"], ["it must be a list of queue names"]),
        ({"default": {"BACKEND": "taskq_django.TaskqBakend"}}, ["E008"], [f'Did you mean "{OURS}"?']),
        ({"default": {"BACKEND": "taskq_django.backends.X"}}, ["E008"], [f'Did you mean "{OURS}"?']),
        ({"default": {"BACKEND": OURS, "OPTIONS": {"brokr": 1}}}, ["E002"], ['Did you mean "broker"?']),
        ({"default": {"BACKEND": OURS, "OPTIONS": []}}, ["E001"], ["it must be a dict"]),
        ({"default": {"BACKEND": OURS, "OPTIONS": {"broker": "amqp://:hunter2@h"}}}, ["E006"], ["database://"]),
        ({"default": {"BACKEND": OURS, "OPTIONS": {"broker": "database://x"}}}, ["E005"], ["not in DATABASES"]),
    ],
    ids=lambda value: None,
)
def test_a_mistake_in_tasks_is_an_error_of_check(manage: Manage, tasks: Any, ids: list[str], words: list[str]) -> None:
    done = manage("check", TASKS=tasks)
    assert the_errors(done) == [f"taskq_django.{id_}" for id_ in ids]
    for word in words:
        assert word in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.once
def test_who_enqueues_to_a_queue_that_is_not_offered_is_refused(manage: Manage) -> None:
    tasks = {"default": {"BACKEND": OURS, "QUEUES": ["mail"]}}
    done = manage("shell", stdin="from shop.tasks import add; add.enqueue(1)", TASKS=tasks)
    last = done.stderr.strip().splitlines()[-1]
    for word in (
        "Queue 'default' is not valid for backend",
        "shop.tasks.add",
        '["QUEUES"] has "mail" only',
        "Add the queue",
    ):
        assert word in last


@pytest.mark.once
def test_who_enqueues_to_a_misspelt_backend_is_refused(manage: Manage) -> None:
    tasks = {"default": {"BACKEND": "taskq_django.TaskqBakend"}}
    done = manage("shell", stdin="from shop.tasks import add; add.enqueue(1)", TASKS=tasks)
    assert "Could not find backend 'taskq_django.TaskqBakend'" in done.stderr.strip().splitlines()[-1]


@pytest.mark.once
@pytest.mark.parametrize(
    "command", [("check",), ("migrate",), ("makemigrations", "--dry-run"), ("runserver", "--noreload", "0")]
)
@pytest.mark.parametrize("extra", [{}, {"DATABASE_ROUTERS": ["taskq_django.DatabaseRouter"]}], ids=["plain", "router"])
def test_django_52_without_the_backport_is_one_error(manage: Manage, command: tuple[str, ...], extra: Any) -> None:
    done = manage(*command, before=WITHOUT_FRAMEWORK, **extra)
    assert the_errors(done) == ["taskq_django.E009"]
    assert 'pip install "taskq-django[django52]"' in done.stderr


@pytest.mark.once
def test_without_the_backport_who_enqueues_is_told_what_to_install(manage: Manage) -> None:
    code = "from shop.tasks import add; print('sum', add(1)); add.enqueue(1)"
    done = manage("shell", stdin=code, before=WITHOUT_FRAMEWORK)
    assert "sum 3" in done.stdout
    assert 'pip install "taskq-django[django52]"' in done.stderr.strip().splitlines()[-1]


@pytest.mark.once
@pytest.mark.parametrize("command", ["taskq_worker", "taskq_beat", "taskq_status"])
def test_our_own_commands_say_it_too(manage: Manage, command: str) -> None:
    misspelt = {"default": {"BACKEND": "taskq_django.TaskqBakend"}}
    assert the_errors(manage(command, TASKS=misspelt)) == ["taskq_django.E008"]
    assert the_errors(manage(command, before=WITHOUT_FRAMEWORK)) == ["taskq_django.E009"]

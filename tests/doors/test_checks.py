"""System checks: each mistake is one message with its remedy, and no traceback."""

from __future__ import annotations

import importlib.util
from io import StringIO
from typing import Any

import django
import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from pytest_django import Settings

from taskq_django import checks
from taskq_django.backend import TaskqBackend
from taskq_django.registry import registry

OURS = "taskq_django.TaskqBackend"


class ProjectBackend(TaskqBackend):
    """A project's own subclass."""


def found(tag: str = checks.TAG) -> list[tuple[str, str]]:
    return [(message.id or "", text_of(message)) for message in run_checks(tags=[tag])]


def text_of(message: CheckMessage) -> str:
    return f"{message.msg} {message.hint or ''}"


def tasks(**params: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": OURS}, "fast": {"BACKEND": OURS, **params}}


@pytest.fixture(autouse=True)
def no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "duplicates", [])


@pytest.fixture(autouse=True)
def right_settings(settings: Settings) -> None:
    settings.TASKQ = {}
    settings.TASKS = tasks()


def test_right_settings_have_no_message() -> None:
    call_command("check", fail_level="WARNING", tags=[checks.TAG], stdout=StringIO())
    assert found() == []


def test_a_typo_in_taskq_is_one_error_with_the_nearest_name(settings: Settings) -> None:
    settings.TASKQ = {"WORKER": {"THREDS": 4}}

    [(check, text)] = found()

    assert check == "taskq_django.E002"
    assert 'TASKQ["WORKER"] has no key "THREDS". Did you mean "THREADS"?' in text


@pytest.mark.parametrize("backend", [OURS, f"{__name__}.ProjectBackend"])
def test_a_typo_in_options_is_one_error_with_the_nearest_name(settings: Settings, backend: str) -> None:
    settings.TASKS = tasks(BACKEND=backend, OPTIONS={"brokr": "database://"})

    [(check, text)] = [
        (message.id, text_of(message)) for message in run_checks() if (message.id or "").startswith("taskq_django")
    ]

    assert check == "taskq_django.E002"
    assert 'TASKS["fast"]["OPTIONS"] has no key "brokr". Did you mean "broker"?' in text


def test_options_of_another_backend_are_not_ours_to_judge(settings: Settings) -> None:
    settings.TASKS = {
        "default": {"BACKEND": "elsewhere.Backend", "OPTIONS": {"x": 1}, "QUEUES": "x"},
        "odd": None,
        "empty": {},
    }

    assert checks.check_backends() == []


@pytest.mark.parametrize("configured", [None, [], "x"])
def test_settings_that_are_not_ours_raise_nothing(settings: Settings, configured: object) -> None:
    settings.TASKS = configured

    assert checks.check_backends() == []


@pytest.mark.parametrize(
    ("queues", "text"),
    [
        ("mail", 'is "mail" (str); it must be a list of queue names.'),
        (None, "is None; it must be a list"),
        (["mail", "a b"], '"a b" is no queue name'),
        (["mail", ""], '"" is no queue name'),
        ([3], "3 is no queue name"),
    ],
)
def test_wrong_queues_are_an_error(settings: Settings, queues: object, text: str) -> None:
    settings.TASKS = tasks(QUEUES=queues)

    [message] = checks.check_backends()

    assert message.id == "taskq_django.E007"
    assert message.msg.startswith('TASKS["fast"]["QUEUES"]')
    assert text in message.msg


@pytest.mark.parametrize("queues", [[], ["default"], ("a", "b"), {"a"}])
def test_right_queues_pass(settings: Settings, queues: object) -> None:
    settings.TASKS = tasks(QUEUES=queues)

    assert checks.check_backends() == []


@pytest.mark.parametrize("path", ["taskq_django.TaskqBakend", "taskq_djano.TaskqBackend", "taskq_django.backends.X"])
def test_a_misspelt_backend_is_named_with_ours(settings: Settings, path: str) -> None:
    settings.TASKS = {"default": {"BACKEND": path}}

    [message] = checks.check_backends()

    assert message.id == "taskq_django.E008"
    assert f'Did you mean "{OURS}"?' in message.msg


def test_django_52_without_the_backport_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django, "VERSION", (5, 2, 0, "final", 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    [(check, text)] = found()

    assert check == "taskq_django.E009"
    assert 'pip install "taskq-django[django52]"' in text


def test_two_tasks_of_one_path_are_an_error_that_names_both_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "duplicates", [("app.tasks.send", "app/tasks.py:3", "app/tasks.py:9")])

    [(check, text)] = found()

    assert check == "taskq_django.E010"
    assert "app.tasks.send is taken twice: at app/tasks.py:3 and at app/tasks.py:9." in text


def test_a_database_that_is_not_supported_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connections

    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
    first, *_ = checks.check_backends()
    assert first.id == "taskq_django.E011"
    assert 'DATABASES["default"], which is oracle' in first.msg
    assert "postgresql" in (first.hint or "")

"""``taskq_tasks``: what can be enqueued."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command

from taskq_django import TaskContext, cron, every, task
from taskq_django.registry import registry
from tests.app import signatures  # noqa: F401 - whose tasks are listed


def greet(context: TaskContext, name: str, *, loudly: bool = False) -> str:
    """Say hello.

    To one of them.
    """
    return name


@pytest.fixture
def greeting() -> Any:
    schedule = [cron("0 3 * * *", timezone="Europe/Berlin"), every(minutes=5, name="often")]
    return task(takes_context=True, queue_name="mail", priority=7, max_attempts=3, timeout=90, schedule=schedule)(greet)


def test_each_task_is_shown_with_how_it_is_called_and_when(greeting: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("taskq_tasks")
    shown = capsys.readouterr().out

    assert (
        f"{__name__}.greet(name: str, *, loudly: bool = False) -> str\n"
        "    Say hello.\n"
        "    default/mail, priority 7, 3 attempts, timeout 1 min 30 s, "
        "scheduled 0 3 * * * Europe/Berlin, scheduled 5 minutes\n"
    ) in shown
    assert "tests.app.signatures.nothing() -> None\n    default/default, 1 attempt\n" in shown


def test_each_task_is_told_to_programs(greeting: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("taskq_tasks", "--json")
    told = {each["path"]: each for each in json.loads(capsys.readouterr().out)}

    assert list(told) == [task.module_path for task in registry.all()]
    assert told[f"{__name__}.greet"] == {
        "path": f"{__name__}.greet",
        "signature": "(name: str, *, loudly: bool = False) -> str",
        "doc": "Say hello.",
        "backend": "default",
        "queue": "mail",
        "priority": 7,
        "max_attempts": 3,
        "timeout": 90.0,
        "schedules": ["0 3 * * * Europe/Berlin", "5 minutes"],
    }
    assert told["tests.app.signatures.unresolvable"]["signature"] == "(order, x: int = 5)"


def test_a_project_without_tasks_is_told_where_to_put_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_tasks", {})
    call_command("taskq_tasks", "--json")
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "tasks.py of an app" in said.err

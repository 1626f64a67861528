"""What the probes say of a database that they cannot ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction

from taskq_django import control, status
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable
from tests.app import tasks

pytestmark = pytest.mark.django_db

Say = Callable[[Callable[[], None]], list[str]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """What ``taskq_health`` and ``taskq_status`` say when that happens as they read."""

    def ask(happens: Callable[[], None]) -> list[str]:
        def ask_the_store(*args: Any) -> None:
            with transaction.atomic():
                happens()

        monkeypatch.setattr(status, "_paused", ask_the_store)
        with pytest.raises(SystemExit):
            call_command("taskq_health")
        with pytest.raises(CommandError) as refused:
            call_command("taskq_status")
        return [capsys.readouterr().out, str(refused.value)]

    return ask


@pytest.mark.parametrize("what", ["* FROM taskq_django_elsewhere", "elsewhere FROM taskq_django_queuedjob"])
def test_without_their_tables_they_say_what_to_type(what: str, say: Say) -> None:
    def ask_in_vain() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {what}")

    for said in say(ask_in_vain):
        assert "manage.py migrate" in said
        assert "does not answer" not in said


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_is_away_is_said_to_be(error: type[Exception], say: Say) -> None:
    def refuse() -> None:
        raise error("connection\n  refused")

    for said in say(refuse):
        assert "the database does not answer: connection refused" in said


def test_a_database_that_answers_with_a_refusal_is_not_said_to_be_away(say: Say) -> None:
    def refuse() -> None:
        raise IntegrityError("not so")

    for said in say(refuse):
        assert "the database refuses this: not so" in said


@pytest.mark.parametrize("command", ["taskq_pause", "taskq_resume", "taskq_purge"])
def test_what_acts_on_a_queue_says_so_too(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("no such table: taskq_django_queuedjob")

    for act in ("pause", "resume", "purge"):
        monkeypatch.setattr(control, act, refuse)
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        call_command(command, "default", *(["--no-input"] if command == "taskq_purge" else []))


AWAY = "the engine of it is away"


@pytest.fixture
def one_is_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job waits in the backend that answers."""
    backend = {"BACKEND": "taskq_django.TaskqBackend"}
    settings.TASKS = {"away": backend, "default": backend}

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise BrokerUnavailable(AWAY)

    for name in ("depth", "cancel", "purge"):
        monkeypatch.setattr(task_backends["away"].broker, name, refuse)
    tasks.add.enqueue(1)


@pytest.mark.usefixtures("one_is_away")
def test_what_is_known_of_the_others_is_shown_beside_a_backend_that_cannot_be_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(CommandError, match=f"^away: {AWAY}$"):
        call_command("taskq_status")
    shown = capsys.readouterr().out
    assert "default/default" in shown
    assert "No worker is alive" in shown
    with pytest.raises(SystemExit):
        call_command("taskq_health", min_workers=0)
    assert capsys.readouterr().out == f"away: {AWAY}\n"


@pytest.mark.usefixtures("one_is_away")
def test_the_others_are_acted_on_beside_a_backend_that_cannot_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    cancelled = tasks.add.enqueue(2)
    with pytest.raises(CommandError, match=f"^away: {AWAY}$"):
        call_command("taskq_cancel", cancelled.id)
    assert f"{cancelled.id}: cancelled" in capsys.readouterr().out
    with pytest.raises(CommandError, match=f"^away: {AWAY}$"):
        call_command("taskq_purge", "default", "--no-input")
    assert "default/default: 1 job removed" in capsys.readouterr().out

"""A worker that ends when nothing is ready ends, too, where others never let go of what is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections

from taskq_django.models import QueuedJob
from taskq_django.states import State
from taskq_django.testing import run_all
from taskq_django.worker import intake
from taskq_django.worker.loop import UNREACHABLE
from tests.app import tasks

pytestmark = pytest.mark.django_db(databases=["default", "other"], transaction=True)


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "HELD_UP", 0.3)
    monkeypatch.setattr(logging.getLogger("taskq_django"), "propagate", True)


@pytest.fixture
def lock(held_up: None) -> Iterator[Callable[[str], None]]:
    """Another session locks the row of a job, or where that is not possible the file, until the test ends."""
    session = connections.create_connection("default")
    session.settings_dict = connections["default"].settings_dict
    session.set_autocommit(False)

    def locked(id_: str) -> None:
        with session.cursor() as cursor:
            cursor.execute(f"UPDATE {QueuedJob._meta.db_table} SET tries = 0 WHERE id = %s", [id_])

    yield locked
    session.rollback()
    session.close()


def burst(**more: Any) -> int | str | None:
    """The exit code of a worker in this process."""
    try:
        call_command("taskq_worker", processes=0, burst=True, verbosity=0, **more)
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.skipif(connection.vendor == "sqlite", reason="there a session locks the whole file")
def test_a_row_that_others_keep_locked_is_not_waited_for_for_ever(
    lock: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    locked = tasks.add.enqueue(1)
    lock(locked.id)
    assert run_all() == 0
    free = tasks.add.using(queue_name="mail").enqueue(2)
    assert burst() == UNREACHABLE
    assert free.get(timeout=0) == 4
    locked.refresh()
    assert locked.state is State.READY
    assert "Not all is done: others keep jobs locked that are ready" in caplog.text


@pytest.mark.skipif(connection.vendor != "sqlite", reason="elsewhere a session locks rows")
def test_a_file_that_others_keep_locked_is_waited_for_as_long_as_at_a_start(
    lock: Callable[[str], None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {**connection.settings_dict["OPTIONS"], "timeout": 0.1})
    job = tasks.add.enqueue(1)
    lock(job.id)
    assert burst(connect_timeout=0.5) == UNREACHABLE
    assert "Not all is done: a broker does not answer" in caplog.text
    connection.close()


def test_what_others_let_go_of_in_time_is_run(lock: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "HELD_UP", 60.0)
    assert run_all() == 0, "at once where nothing is ready"
    tasks.add.enqueue_many([(1,), (2,)])
    assert burst() == 0
    assert QueuedJob.objects.count() == 0

"""Where SQLite defers its transactions, as it does by default, an act of people writes before it reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection

from taskq_django import control
from taskq_django.compat import task_backends
from taskq_django.models import Request, WorkerProcess
from taskq_django.models.moments import DatabaseNow

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="the others lock rows"),
]

BROKER = task_backends["default"].broker  # type: ignore[attr-defined]


@pytest.fixture
def deferred(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another process commits after each statement, where it may."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", "DEFERRED")
    connection.close()  # the next one has the option
    other = sqlite3.connect(str(connection.settings_dict["NAME"]), timeout=0, isolation_level=None)

    def commit(execute: Callable[..., Any], *args: Any) -> Any:
        found = execute(*args)
        with suppress(sqlite3.OperationalError):  # it is locked
            other.execute("UPDATE taskq_django_workerprocess SET host = host || '.'")
        return found

    with connection.execute_wrapper(commit):
        yield
    other.close()
    connection.close()


@pytest.mark.parametrize(
    "act",
    [
        lambda: control.pause("mail", BROKER),
        lambda: control.ask_worker("w", Request.QUIET, "default"),
        lambda: control.ask_worker("w", None, "default"),
    ],
    ids=["pause", "quiet", "serve"],
)
def test_an_act_is_done_though_others_write_meanwhile(deferred: None, act: Callable[[], bool]) -> None:
    now = DatabaseNow()
    WorkerProcess.objects.create(id="w", host="h", pid=1, state="SERVING", started_at=now, seen_at=now)
    assert act()
    act()
    assert WorkerProcess.objects.get().host.startswith("h.")

"""Every door of a long-lived process recovers from a connection that was lost, as enqueue does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, InterfaceError, connection, transaction

from taskq_django import Result, control
from taskq_django.brokers.base import Broker
from taskq_django.compat import task_backends
from taskq_django.exceptions import ResultTimeout
from taskq_django.status import read_status
from taskq_django.store.connections import let_go
from taskq_django.testing import run_all
from tests.app import tasks

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server to lose"),
]

LOST = (DatabaseError, InterfaceError)


def broker() -> Broker:
    return task_backends["default"].broker  # type: ignore[attr-defined,no-any-return]


def cut() -> None:
    """The server ends our session, as a restart or a firewall would."""
    other = connection.copy()
    with connection.cursor() as cursor, other.cursor() as remote:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_backend_pid()")
            remote.execute("SELECT pg_terminate_backend(%s, 5000)", cursor.fetchone())
        else:
            cursor.execute("SELECT CONNECTION_ID()")
            remote.execute("KILL %s", cursor.fetchone())
    other.close()


ASKED: dict[str, Callable[[Result[Any], Result[Any], Result[Any]], object]] = {
    "get": lambda done, bad, waits: done.get() == 3,
    "aget": lambda done, bad, waits: async_to_sync(done.aget)() == 3,
    "refresh": lambda done, bad, waits: done.refresh() is None and done.state == "SUCCESSFUL",
    "arefresh": lambda done, bad, waits: async_to_sync(done.arefresh)() is None,
    "of a failure": lambda done, bad, waits: bad.refresh() is None and len(bad.errors) == 1,
    "get_result": lambda done, bad, waits: task_backends["default"].get_result(done.id).id == done.id,
    "cancel": lambda done, bad, waits: waits.cancel() and waits.state == "CANCELLED",
    "acancel": lambda done, bad, waits: async_to_sync(waits.acancel)(),
    "retry": lambda done, bad, waits: bad.retry() is None and bad.state == "READY",
    "pause": lambda done, bad, waits: control.pause("q", broker()),
    "resume": lambda done, bad, waits: not control.resume("q", broker()),
    "purge": lambda done, bad, waits: control.purge("default", broker()) == 1,
    "status": lambda done, bad, waits: read_status([broker()]).ready == 1,
    "enqueue": lambda done, bad, waits: tasks.add.enqueue(1).state == "READY",
}


@pytest.fixture
def jobs() -> tuple[Result[Any], Result[Any], Result[Any]]:
    done, bad = tasks.add.enqueue(1), tasks.explode.enqueue()
    run_all()
    return done, bad, tasks.add.enqueue(2)


@pytest.mark.parametrize("how", ASKED)
def test_a_lost_connection_is_replaced(how: str, jobs: tuple[Result[Any], Result[Any], Result[Any]]) -> None:
    cut()
    assert ASKED[how](*jobs)
    assert ASKED["get"](*jobs), "and it goes on"


@pytest.mark.parametrize("how", ["get", "of a failure", "cancel", "retry", "purge", "pause"])
@pytest.mark.parametrize("inside", ["an atomic block", "autocommit off"])
def test_in_a_callers_transaction_nothing_is_asked_twice(
    how: str, inside: str, jobs: tuple[Result[Any], Result[Any], Result[Any]]
) -> None:
    def ask() -> None:
        cut()
        ASKED[how](*jobs)

    def ask_in_a_block() -> None:
        with transaction.atomic():
            ask()

    if inside == "autocommit off":
        transaction.set_autocommit(False)
    with pytest.raises(LOST):
        ask() if inside == "autocommit off" else ask_in_a_block()
    let_go(connection)


def test_an_enqueue_with_autocommit_off_is_true_with_the_callers_commit() -> None:
    for finish, count in ((transaction.rollback, 0), (transaction.commit, 3)):
        transaction.set_autocommit(False)
        try:
            result = tasks.add.enqueue(1)
            tasks.add.enqueue_many([(2,), (3,)])
            with pytest.raises(ResultTimeout):
                result.get()
            finish()
        finally:
            transaction.set_autocommit(True)
        assert len(task_backends["default"].get_results([result.id])) == min(count, 1)  # type: ignore[attr-defined]
    assert run_all() == 3

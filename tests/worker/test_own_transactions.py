"""A service's transactions hold nobody up for long, and leave a session as they have found it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from taskq_django.brokers.base import Broker
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.jobs import Succeeded
from taskq_django.models import PausedQueue, QueuedJob
from taskq_django.store.connections import let_go, limit_own_sessions, own_transaction, unlimit_sessions
from taskq_django.store.limits import is_limited
from taskq_django.worker.loop import Loop
from tests.app import tasks

pytestmark = [
    pytest.mark.django_db(databases=["default", "other"], transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no sessions"),
]

LEASE = 40.0  # seconds: longer than this process stands still in a transaction
SHORT_LEASE = 2.0  # half of it a lock is waited for
GUARD = 30.0  # against hanging; less than a lock is waited for without limits
SETTINGS = {
    "postgresql": ["lock_timeout", "idle_in_transaction_session_timeout"],
    "mysql": ["innodb_lock_wait_timeout", "idle_transaction_timeout"],
}
LOCK_TIMEOUT = r"(?i)lock( wait)? timeout"  # as the server says it, and not a line that was cut
# What a project has set for its own sessions.
THEIRS = {"postgresql": ["77s", "1h"], "mysql": [77, 3600]}


@pytest.fixture
def limited() -> Iterator[None]:
    """This thread is a service."""
    limit_own_sessions(["default"], LEASE)
    yield
    unlimit_sessions()
    let_go(connection)


@pytest.fixture
def soon_limited(limited: None) -> None:
    """The same, with a lease whose end is waited for."""
    limit_own_sessions(["default"], SHORT_LEASE)


@pytest.fixture
def queue() -> PausedQueue:
    return PausedQueue.objects.create(backend="default", queue_name="q")


def rows() -> Any:
    return PausedQueue.objects.filter(queue_name="q")


def in_force() -> list[Any]:
    found = []
    with connection.cursor() as cursor:
        for name in SETTINGS[connection.vendor]:
            cursor.execute(f"SHOW {name}" if connection.vendor == "postgresql" else f"SELECT @@{name}")
            found.append(cursor.fetchone()[0])
    return found


def set_theirs() -> None:
    with connection.cursor() as cursor:
        for name, value in zip(SETTINGS[connection.vendor], THEIRS[connection.vendor], strict=True):
            cursor.execute(f"SET SESSION {name} = {value!r}")


def commit() -> None:
    with own_transaction("default"):
        rows().update(backend="other")


def fail() -> None:
    with pytest.raises(ValueError, match="ours"), own_transaction("default"):  # noqa: PT012 - one story
        rows().update(backend="other")
        raise ValueError("ours")


def fail_in_the_database() -> None:
    with suppress(DatabaseError), own_transaction("default"), connection.cursor() as cursor:
        cursor.execute("SELECT nothing")


def roll_back() -> None:
    with own_transaction("default"):
        rows().update(backend="other")
        transaction.set_rollback(True)


def end_a_job() -> None:
    broker: Broker = task_backends["default"].broker  # type: ignore[attr-defined]
    tasks.add.enqueue(1)
    (claim,) = broker.claim(["default"], 1, "w1")
    now = time.monotonic()
    assert broker.settle([Succeeded(claim, now, now, "3")], "w1")


@pytest.mark.parametrize("act", [commit, fail, fail_in_the_database, roll_back, end_a_job])
@pytest.mark.usefixtures("limited", "queue")
def test_a_transaction_leaves_its_session_as_the_project_has_set_it(act: Callable[[], None]) -> None:
    let_go(connection)
    set_theirs()
    before = in_force()
    act()
    assert in_force() == before
    assert PausedQueue.objects.filter(backend="other").exists() == (act is commit)


@pytest.mark.usefixtures("limited", "queue")
def test_limits_are_for_a_services_own_transactions_only() -> None:
    set_theirs()
    before = in_force()
    with transaction.atomic():
        with own_transaction("default"):
            assert in_force() == before, "within one of a caller's"
        tasks.add.enqueue(1)
        assert in_force() == before
    with own_transaction("default"):
        assert in_force() != before


@pytest.mark.usefixtures("soon_limited", "queue")
def test_what_is_stopped_in_the_middle_of_a_transaction_frees_its_locks_within_a_lease() -> None:
    with pytest.raises((DatabaseError, InterfaceError)), own_transaction("default"):  # noqa: PT012 - one story
        assert in_force()[1] in (f"{SHORT_LEASE:g}s", SHORT_LEASE)
        rows().update(backend="stopped")

        def others() -> None:
            rows().update(backend="others")
            connection.close()

        thread = threading.Thread(target=others)
        thread.start()
        thread.join(GUARD)  # this thread stands still meanwhile
        assert not thread.is_alive(), "others still wait for it"
        rows().update(backend="too late")
    let_go(connection)
    assert rows().get().backend == "others"


@pytest.mark.usefixtures("soon_limited", "queue")
@pytest.mark.parametrize("act", ["a transaction", "the end of a job"])
def test_a_lock_of_others_is_waited_for_no_longer_than_a_loop_may_be_silent(act: str) -> None:
    broker: Broker = task_backends["default"].broker  # type: ignore[attr-defined]
    tasks.add.enqueue(1)
    (claim,) = broker.claim(["default"], 1, "w1")
    locked, over = threading.Event(), threading.Event()

    def others() -> None:
        with transaction.atomic():
            rows().update(backend="others")
            QueuedJob.objects.update(rank=1)
            locked.set()
            over.wait(60)
        connection.close()

    thread = threading.Thread(target=others)
    thread.start()
    locked.wait()
    now = time.monotonic()
    try:
        if act == "a transaction":
            with pytest.raises(OperationalError, match=LOCK_TIMEOUT), own_transaction("default"):
                rows().update(backend="ours")
        elif connection.vendor == "postgresql":  # the others lock first what they end, in a transaction
            with pytest.raises(BrokerUnavailable, match=LOCK_TIMEOUT):
                broker.settle([Succeeded(claim, now, now, "3")], "w1")
        waited = time.monotonic() - now
    finally:
        over.set()
        thread.join()
    assert waited < GUARD
    assert broker.settle([Succeeded(claim, now, now, "3")], "w1")


@pytest.mark.parametrize("dies", [False, True])
def test_a_worker_in_a_process_that_goes_on_leaves_nothing_on_its_session(
    dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    before, settings = in_force(), connection.settings_dict
    job = tasks.add.enqueue(1)
    if dies:
        monkeypatch.setattr(Loop, "step", lambda loop: {}["nothing"])
        with pytest.raises(KeyError):
            call_command("taskq_worker", processes=0, max_tasks=1, verbosity=0)
    else:
        call_command("taskq_worker", processes=0, max_tasks=1, verbosity=0)
        assert job.get() == 3
    assert in_force() == before
    assert (connection.settings_dict, is_limited()) == (settings, False)
    with own_transaction("default"):
        assert in_force() == before
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_listening_channels()")
            assert cursor.fetchone()[0] == 0

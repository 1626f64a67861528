"""What came of messages is written only while nobody counts their holder as dead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction

from taskq_django.brokers import broker_for
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.database.outbox import Outbox
from taskq_django.conf import BackendOptions
from taskq_django.jobs import Claim, Outcome, new_id
from taskq_django.models import JobAttempt, JobResult, QueuedJob, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.store.ends import written
from tests.support.messages import AUTHOR, HOLDER, failure, message, register, retry, success
from tests.support.sending import job
from tests.support.workers import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows() -> DatabaseBroker:
    broker = broker_for("default", BackendOptions())
    assert isinstance(broker, DatabaseBroker)
    return broker


@pytest.fixture(autouse=True)
def _holder() -> None:
    register(HOLDER)


def written_rows() -> tuple[int, int, int]:
    return JobResult.objects.count(), JobAttempt.objects.count(), QueuedJob.objects.count()


BATCHES: dict[str, Callable[[], list[Outcome]]] = {
    "successes": lambda: [success(message()), success(message())],
    "mixed": lambda: [success(message()), failure(message()), retry(message())],
}


@pytest.mark.parametrize("batch", BATCHES)
def test_nothing_is_written_for_a_holder_that_is_not_registered(rows: DatabaseBroker, batch: str) -> None:
    assert not rows.record(BATCHES[batch](), "host/unknown", AUTHOR, sweep=True)
    assert written_rows() == (0, 0, 0)


def in_thread(act: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """It runs on a connection of its own."""
    said: list[object] = []

    def run() -> None:
        try:
            said.append(act())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, said


def lock_waits() -> int:
    """How many sessions wait for a lock."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # of the transaction that this may be in
            cursor.execute(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        else:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
        return int(cursor.fetchone()[-1])


@pytest.fixture
def somebody_else() -> Iterator[Any]:
    """Another session, whose transactions the test ends."""
    other = connection.copy()
    yield other
    other.close()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("is_buried", [True, False], ids=["committed", "rolled back"])
def test_a_burial_under_way_decides(rows: DatabaseBroker, somebody_else: Any, batch: str, is_buried: bool) -> None:
    outcomes = BATCHES[batch]()
    somebody_else.set_autocommit(False)
    with somebody_else.cursor() as cursor:
        cursor.execute(f"DELETE FROM {WorkerProcess._meta.db_table} WHERE id = %s", [HOLDER])

    thread, said = in_thread(lambda: rows.record(outcomes, HOLDER, AUTHOR, sweep=True))
    wait_for(lock_waits)
    assert thread.is_alive()
    somebody_else.commit() if is_buried else somebody_else.rollback()
    thread.join(60)

    assert said == [not is_buried]
    wanted = {"successes": (2, 0, 0), "mixed": (2, 2, 1)}[batch]
    assert written_rows() == ((0, 0, 0) if is_buried else wanted)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_who_buries_waits_for_what_is_being_written_and_a_lease_is_renewed_beside_it(rows: DatabaseBroker) -> None:
    with transaction.atomic():
        assert rows.record(BATCHES["mixed"](), HOLDER, AUTHOR)
        if connection.vendor == "postgresql":  # elsewhere a renewal waits, too
            renewed, said = in_thread(lambda: WorkerProcess.objects.update(seen_at=DatabaseNow()))
            renewed.join(60)
            assert said == [1]
        thread, said = in_thread(lambda: WorkerProcess.objects.filter(id=HOLDER).delete())
        wait_for(lock_waits)
        assert thread.is_alive()
    thread.join(60)
    assert said


def test_a_burial_at_any_moment_leaves_all_or_nothing(rows: DatabaseBroker) -> None:
    """And what is written after the burial is nothing: who rescues looks then."""
    for turn in range(15):
        holder = f"host/{turn}"
        register(holder)
        ids = sorted(new_id() for _ in range(3))
        outcomes = [
            success(message(id=ids[0])),
            failure(message(id=ids[1])),
            retry(message(id=ids[2])),
        ]
        thread, said = in_thread(lambda: rows.record(outcomes, holder, AUTHOR, sweep=True))  # noqa: B023

        rows.own(lambda _: WorkerProcess.objects.filter(id=holder).delete(), writes=True)  # noqa: B023
        seen = written([outcome.claim for outcome in outcomes], "default")

        thread.join(60)
        assert said == [bool(seen)]
        assert written([outcome.claim for outcome in outcomes], "default") == seen
        assert seen in (set(), set(ids))


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_the_sender_and_those_who_write_never_lock_each_other_out(rows: DatabaseBroker) -> None:
    """All lock rows in the order of their ids, so no deadlock costs a second."""
    outbox = Outbox(rows)
    deadlocks: list[BaseException] = []
    for turn in range(8):
        sender = str(uuid4())
        jobs = [job(attempts=0) for _ in range(300)]
        outbox.stand_in(jobs, sender)
        claims = [Claim(each._replace(attempts=1), f"@{HOLDER}", 0.0) for each in jobs]
        mixed = claims[turn::2] + claims[::-1][turn::2]
        ready = threading.Barrier(4)

        def settling(mine: list[Claim]) -> Callable[[], None]:
            def settle() -> None:
                ready.wait()  # noqa: B023
                outcomes = [retry(claim) if n % 3 else success(claim) for n, claim in enumerate(mine)]
                recorded_once(lambda: rows.record(outcomes, HOLDER, AUTHOR, sweep=True))

            return settle

        def recorded_once(act: Callable[[], object]) -> None:
            """Without the second try of a transaction that lost."""
            try:
                with transaction.atomic():
                    act()
            except Exception as error:
                deadlocks.append(error)

        def confirm() -> None:
            ready.wait()  # noqa: B023
            recorded_once(lambda: outbox.confirmed([each.id for each in reversed(jobs)], sender))  # noqa: B023

        acts = [settling(mixed[:100]), settling(mixed[100:200]), settling(mixed[200:]), confirm]
        for thread, _ in [in_thread(act) for act in acts]:
            thread.join(60)
        QueuedJob.objects.all().delete()
    assert deadlocks == []

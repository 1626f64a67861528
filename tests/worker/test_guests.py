"""What tasks do on an SQLite file with Django's default options: it takes turns, and Django does not notice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction

from taskq_django.store.connections import welcome
from taskq_django.store.dialects import turns
from tests.support.workers import wait_for

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite only")


needs_a_door = pytest.mark.skipif(not turns.HAS_DOOR, reason="about what is done on Linux only")


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else's, who waits for no lock."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as made:
        yield made


def run(guest: Any, sql: str) -> list[Any]:
    with guest.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def is_free(other: sqlite3.Connection) -> bool:
    try:
        other.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    other.execute("ROLLBACK")
    return True


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("INSERT INTO t VALUES (1)", []),
        ("INSERT INTO t VALUES (1), (2), (3) RETURNING n", [(1,), (2,), (3,)]),
        ("WITH one AS (SELECT 7 AS n) INSERT INTO t SELECT n FROM one", []),
        ("  update t SET n = 2", []),
        ("CREATE TABLE another (n)", []),
    ],
)
def test_a_statement_alone_is_committed_and_gives_its_rows(
    guest: Any, other: sqlite3.Connection, sql: str, rows: list[Any]
) -> None:
    assert run(guest, sql) == rows
    assert is_free(other)
    assert run(guest, "SELECT count(*) FROM t") == other.execute("SELECT count(*) FROM t").fetchall()


def test_rows_are_fetched_as_from_any_cursor(guest: Any) -> None:
    insert = "INSERT INTO t VALUES {} RETURNING n"
    with guest.cursor() as cursor:
        cursor.execute(insert.format("(1), (2), (3)"))
        assert (cursor.fetchone(), cursor.fetchmany(1), cursor.fetchmany(5), cursor.fetchone()) == (
            (1,),
            [(2,)],
            [(3,)],
            None,
        )
        cursor.execute(insert.format("(4), (5)"))
        assert list(cursor) == [(4,), (5,)]
        cursor.execute("SELECT max(n) FROM t")
        assert cursor.fetchall() == [(5,)]
        cursor.executemany("INSERT INTO t VALUES (%s)", [(6,), (7,)])
        assert cursor.rowcount == 2


def test_a_statement_that_fails_leaves_the_file_free(guest: Any, other: sqlite3.Connection) -> None:
    run(guest, "INSERT INTO t VALUES (1)")
    with pytest.raises(IntegrityError):
        run(guest, "INSERT INTO t VALUES (1)")
    assert is_free(other)
    with pytest.raises(OperationalError):
        run(guest, "INSERT INTO nowhere VALUES (1)")
    assert is_free(other)
    run(guest, "INSERT INTO t VALUES (2)")


def test_a_transaction_locks_the_file_from_its_first_statement_to_its_end(
    guest: Any, other: sqlite3.Connection
) -> None:
    with transaction.atomic(using="guest"):
        assert is_free(other)
        run(guest, "SELECT count(*) FROM t")
        assert not is_free(other)
        with pytest.raises(IntegrityError), transaction.atomic(using="guest"):  # noqa: PT012 - one story
            run(guest, "INSERT INTO t VALUES (1)")
            run(guest, "INSERT INTO t VALUES (1)")
        run(guest, "INSERT INTO t VALUES (2)")
    assert other.execute("SELECT n FROM t").fetchall() == [(2,)]
    assert is_free(other)

    with pytest.raises(ValueError, match="mine"), transaction.atomic(using="guest"):  # noqa: PT012 - one story
        run(guest, "INSERT INTO t VALUES (3)")
        raise ValueError("mine")
    with transaction.atomic(using="guest"):  # without a statement
        pass
    with transaction.atomic(using="guest"):
        run(guest, "INSERT INTO t VALUES (4)")
        transaction.set_rollback(True, using="guest")
    assert is_free(other)
    assert other.execute("SELECT n FROM t").fetchall() == [(2,)]


def test_a_connection_that_is_closed_in_a_transaction_leaves_the_file_to_other_threads(guest: Any) -> None:
    block = transaction.atomic(using="guest")
    block.__enter__()
    run(guest, "INSERT INTO t VALUES (1)")
    guest.close()
    block.__exit__(None, None, None)
    written: list[bool] = []

    def another() -> None:
        mine = connections.create_connection("default")
        mine.settings_dict, mine.transaction_mode = guest.settings_dict, None
        welcome(mine)
        run(mine, "INSERT INTO t VALUES (1)")
        written.append(True)
        mine.close()

    thread = threading.Thread(target=another)
    thread.start()
    thread.join(60)
    assert written


def test_who_reads_in_another_process_is_waited_for(
    guest: Any, elsewhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 60.0)
    web, answers = elsewhere(), []
    assert [web("BEGIN"), web("SELECT count(*) FROM t")] == ["done", "done"]

    def writes() -> None:
        if not answers:
            answers.extend([web("INSERT INTO t VALUES (1)"), web("COMMIT")])

    monkeypatch.setattr(turns, "_pause", writes)
    run(guest, "INSERT INTO t VALUES (2)")
    assert answers == ["done", "done"]
    assert run(guest, "SELECT n FROM t ORDER BY rowid") == [(1,), (2,)]


@needs_a_door
def test_nobody_begins_to_read_between_our_look_and_our_lock(guest: Any, elsewhere: Any) -> None:
    web, answers = elsewhere(), []

    def as_it_begins(sql: str) -> None:
        if sql.startswith("BEGIN"):
            answers.append(web("SELECT count(*) FROM t"))

    guest.ensure_connection()
    guest.connection.set_trace_callback(as_it_begins)
    run(guest, "INSERT INTO t VALUES (1)")
    assert answers == ["database is locked"]
    assert web("INSERT INTO t VALUES (2)") == "done"


@needs_a_door
def test_who_has_read_for_long_can_still_write(guest: Any, elsewhere: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    reader, newcomer = elsewhere(), elsewhere()
    assert [reader("BEGIN"), reader("SELECT count(*) FROM t")] == ["done", "done"]

    def writes() -> None:
        wait_for(lambda: newcomer("SELECT count(*) FROM t") == "database is locked")
        answers.append(reader("INSERT INTO t VALUES (2)"))
        wait_for(lambda: reader("COMMIT") == "done")

    answers: list[str] = []
    web = threading.Thread(target=writes)
    web.start()
    run(guest, "INSERT INTO t VALUES (1)")
    web.join(60)
    assert answers == ["done"]
    assert run(guest, "SELECT n FROM t ORDER BY rowid") == [(1,), (2,)]
    assert newcomer("INSERT INTO t VALUES (3)") == "done"


@needs_a_door
def test_readers_are_kept_out_until_all_our_locks_are_gone(guest: Any, path: Path) -> None:
    """At its end SQLite lets others read a moment before it lets them write."""
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0x40000000)"

    def is_shut() -> bool:
        return subprocess.run([sys.executable, "-c", code, path], stderr=subprocess.DEVNULL).returncode != 0

    with transaction.atomic(using="guest"):
        run(guest, "INSERT INTO t VALUES (1)")
        assert is_shut()
    assert not is_shut()


def test_who_reads_in_this_process_is_waited_for(guest: Any, path: Path, elsewhere: Any) -> None:
    begun: list[str] = []

    def as_it_begins(sql: str) -> None:
        if sql.startswith("BEGIN"):
            begun.append(sql)
            if len(begun) == 2:
                reads.close()

    with closing(sqlite3.connect(path, isolation_level=None)) as mine:
        reads = mine.execute("SELECT count(*) FROM t UNION ALL SELECT count(*) FROM t UNION ALL SELECT count(*) FROM t")
        guest.ensure_connection()
        guest.connection.set_trace_callback(as_it_begins)
        run(guest, "INSERT INTO t VALUES (1)")
    assert len(begun) == 2
    assert elsewhere()("INSERT INTO t VALUES (2)") == "done"


def test_a_projects_own_limit_and_wrappers_stay_as_they_are(guest: Any) -> None:
    seen: list[str] = []

    def mine(execute: Any, sql: str, *args: Any) -> Any:
        seen.append(sql)
        return execute(sql, *args)

    run(guest, "PRAGMA busy_timeout = 1234")
    with guest.execute_wrapper(mine):
        run(guest, "INSERT INTO t VALUES (1)")
        with transaction.atomic(using="guest"):
            run(guest, "INSERT INTO t VALUES (2)")
    assert seen == ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"]
    assert run(guest, "PRAGMA busy_timeout") == [(1234,)]
    with transaction.atomic(using="guest"):
        run(guest, "INSERT INTO t VALUES (3)")
    assert run(guest, "SELECT count(*) FROM t") == [(3,)]

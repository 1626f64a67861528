"""Turns at an SQLite file, when a process is copied, and when others are at the same file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection

from taskq_django.store.dialects import courtesy, turns

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite only")

Start = Callable[[], Callable[[str], str]]


def run(guest: Any, sql: str) -> None:
    with guest.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("is_connected", [True, False])
def test_a_copy_of_a_process_does_not_wait_for_a_thread_of_the_other(
    guest: Any, path: Path, monkeypatch: pytest.MonkeyPatch, is_connected: bool
) -> None:
    monkeypatch.setattr(courtesy, "TASKS_WAIT", 0.0)
    guest.settings_dict["OPTIONS"] = {"timeout": 0}
    run(guest, "INSERT INTO t VALUES (1)")
    if not is_connected:
        guest.close()
    has_turn, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        turn = courtesy.turn_at(str(path))
        turn.take(lambda mode, wait: None, lambda: None, is_deferred=False, has_wal=False, wait=0)
        has_turn.set()
        may_end.wait(20)
        turn.leave(has_wal=False)

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_turn.wait(20)
    if (child := os.fork()) == 0:
        try:
            run(guest, "INSERT INTO t VALUES (2)")
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    may_end.set()
    thread.join(20)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.skipif(turns.fcntl is None, reason="nobody can be asked who reads")
def test_who_reads_a_wal_is_seen_also_when_its_index_was_made_anew(
    guest: Any, path: Path, elsewhere: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_ON_WAL", 60.0)
    run(guest, "PRAGMA journal_mode = WAL")
    run(guest, "INSERT INTO t VALUES (1)")
    guest.close()
    assert not path.with_name("db-shm").exists()

    web, pauses = elsewhere(), []
    assert [web("BEGIN"), web("SELECT count(*) FROM t")] == ["done", "done"]
    monkeypatch.setattr(turns, "_pause", lambda: pauses.append(web("COMMIT")))
    run(guest, "INSERT INTO t VALUES (2)")
    assert pauses == ["done"]


@pytest.fixture
def mine(path: Path) -> Iterator[sqlite3.Connection]:
    """The project's, in this process; it takes no turns and waits for no lock."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as made:
        yield made


def keep_newcomers_out(mine: sqlite3.Connection) -> None:
    """It has written, but cannot end while somebody reads; meanwhile SQLite lets nobody else begin to."""
    mine.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        mine.execute("COMMIT")


@pytest.mark.skipif(not turns.HAS_DOOR, reason="about what is done on Linux only")
def test_a_try_in_vain_lets_nobody_in_whom_another_connection_here_keeps_out(
    guest: Any, mine: sqlite3.Connection, elsewhere: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    monkeypatch.setattr(courtesy, "TASKS_WAIT", 0.0)
    guest.settings_dict["OPTIONS"] = {"timeout": 0}
    run(guest, "INSERT INTO t VALUES (2)")
    reader, newcomer = elsewhere(), elsewhere()
    assert [reader("BEGIN"), reader("SELECT count(*) FROM t")] == ["done", "done"]
    mine.execute("BEGIN")
    keep_newcomers_out(mine)

    with pytest.raises(OperationalError, match="locked"):
        run(guest, "INSERT INTO t VALUES (3)")
    assert newcomer("SELECT count(*) FROM t") == "database is locked"
    assert reader("COMMIT") == "done"
    mine.execute("COMMIT")
    assert newcomer("SELECT count(*) FROM t") == "done"


@pytest.mark.skipif(not turns.HAS_DOOR, reason="about what is done on Linux only")
def test_who_leaves_lets_nobody_in_whom_another_connection_here_keeps_out(
    path: Path, mine: sqlite3.Connection, elsewhere: Start
) -> None:
    """Where the project's transactions are IMMEDIATE there was no door to shut."""
    reader, newcomer = elsewhere(), elsewhere()
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as ours:

        def begin(mode: str, wait: float) -> None:
            ours.execute(f"BEGIN {mode}")

        turn = courtesy.turn_at(str(path))
        turn.take(begin, lambda: None, is_deferred=False, has_wal=False, wait=0)
        ours.execute("COMMIT")
        assert [reader("BEGIN"), reader("SELECT count(*) FROM t")] == ["done", "done"]
        mine.execute("BEGIN")
        keep_newcomers_out(mine)
        turn.leave(has_wal=False)
        turn.leave(has_wal=False)
        assert newcomer("SELECT count(*) FROM t") == "database is locked"


def test_a_new_connection_to_a_file_that_is_locked_fails_as_any_of_django_does(guest: Any, elsewhere: Start) -> None:
    guest.settings_dict["OPTIONS"] = {"timeout": 0}
    web = elsewhere()
    assert web("BEGIN EXCLUSIVE") == "done"
    with pytest.raises(OperationalError, match="locked"):
        run(guest, "INSERT INTO t VALUES (1)")
    assert web("COMMIT") == "done"
    run(guest, "INSERT INTO t VALUES (1)")

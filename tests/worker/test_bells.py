"""A loop outlives whatever becomes of an SQLite file that it looks at for new jobs."""

from __future__ import annotations

import math
import select
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from taskq_django.exceptions import BrokerUnavailable
from taskq_django.store.dialects import bells
from taskq_django.store.dialects.bells import MOST_UNHEARD, DataVersionBell
from taskq_django.store.dialects.file_watch import FileWatch

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite only")


def test_a_bell_that_cannot_look_because_the_file_is_locked_rings_later(
    guest: Any, elsewhere: Callable[[], Callable[[str], str]]
) -> None:
    web, bell = elsewhere(), DataVersionBell(guest)
    guest.settings_dict["OPTIONS"] = {"timeout": 0.001}
    assert bell.rang()
    assert [web("BEGIN EXCLUSIVE"), web("INSERT INTO t VALUES (1)")] == ["done", "done"]
    assert not bell.rang()
    assert web("COMMIT") == "done"
    assert bell.rang()
    assert not bell.rang()


class Broken:
    """A driver's connection to a file on a disk that fails."""

    def execute(self, sql: str) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    def close(self) -> None:
        pass


def test_a_bell_that_cannot_look_at_all_tells_that_its_broker_is_away(guest: Any) -> None:
    bell = DataVersionBell(guest)
    assert bell.rang()
    guest.connection.close()
    guest.connection = Broken()
    with pytest.raises(BrokerUnavailable, match="disk I/O error"):
        bell.rang()
    assert bell.rang()


def is_told(bell: DataVersionBell) -> bool:
    """Can what the loop waits for be read?"""
    return bell.fd is not None and bool(select.select([bell.fd], [], [], 0)[0])


@pytest.fixture
def lingers_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets for how many seconds a bell looks at a file after a write."""
    return lambda seconds: monkeypatch.setattr(bells, "LINGER", seconds)


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of writes")


@linux
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_who_waits_for_a_file_is_told_of_each_commit_of_others(
    guest: Any, elsewhere: Callable[[], Callable[[str], str]], lingers_for: Callable[[float], None], mode: str
) -> None:
    web = elsewhere()
    lingers_for(0)
    assert web(f"PRAGMA journal_mode={mode}") == "done"
    bell = DataVersionBell(guest)
    assert bell.rang()
    for _ in range(MOST_UNHEARD + 2):
        bell.rang()
        assert not is_told(bell)
        assert web("INSERT INTO t VALUES (NULL)") == "done"
        assert is_told(bell)
        assert bell.rang()
    bell.close()


@linux
def test_a_file_that_is_written_to_is_looked_at_for_a_while(
    guest: Any, elsewhere: Callable[[], Callable[[str], str]], lingers_for: Callable[[float], None]
) -> None:
    web, bell = elsewhere(), DataVersionBell(guest)
    lingers_for(math.inf)
    assert bell.rang()
    assert bell.fd is not None  # nobody has written yet
    assert web("INSERT INTO t VALUES (NULL)") == "done"
    assert bell.rang()
    assert bell.fd is None
    assert (bell.glance(idle=0.5), bell.glance(idle=10)) == (0.002, 0.01)
    lingers_for(0)
    assert bell.fd is not None
    bell.close()


@linux
def test_a_file_that_becomes_a_wal_later_is_heard_again(
    guest: Any, elsewhere: Callable[[], Callable[[str], str]], lingers_for: Callable[[float], None]
) -> None:
    web, bell = elsewhere(), DataVersionBell(guest)
    lingers_for(0)
    assert web("PRAGMA journal_mode=delete") == "done"
    assert bell.rang()
    assert web("PRAGMA journal_mode=wal") == "done"
    for _ in range(2):  # whether it was told of them or not
        assert web("INSERT INTO t VALUES (NULL)") == "done"
        bell.rang()
    bell.rang()
    assert web("INSERT INTO t VALUES (NULL)") == "done"
    assert is_told(bell)
    bell.close()


@linux
def test_a_watch_that_tells_nothing_is_given_up(
    guest: Any, elsewhere: Callable[[], Callable[[str], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileWatch, "add", lambda self, paths: None)  # as on a file system that tells nothing
    web, bell = elsewhere(), DataVersionBell(guest)
    assert bell.rang()
    assert bell.glance(idle=10) == 0.1
    for _ in range(MOST_UNHEARD + 1):
        assert web("INSERT INTO t VALUES (NULL)") == "done"
        assert bell.rang()
    assert bell.fd is None
    assert bell.glance(idle=10) == 0.01


def test_where_nobody_tells_the_file_is_looked_at(
    guest: Any, elsewhere: Callable[[], Callable[[str], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "beos")
    web, bell = elsewhere(), DataVersionBell(guest)
    assert bell.rang()
    assert bell.fd is None
    assert bell.glance(idle=10) == 0.01
    assert web("INSERT INTO t VALUES (NULL)") == "done"
    assert bell.rang()

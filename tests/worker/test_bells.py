"""A loop outlives whatever becomes of an SQLite file that it looks at for new jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from taskq_django.exceptions import BrokerUnavailable
from taskq_django.store.dialects.bells import DataVersionBell

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

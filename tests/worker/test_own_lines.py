"""What a service's own connections are told, and how long they wait."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from taskq_django.store.limits import Patience, cut_lines, limit_lines, own_lines, unlimit_lines
from tests.support.workers import cut_other_connections

PATIENCE = 40  # seconds: longer than this process stands still


@pytest.fixture
def limited(transactional_db: None) -> Iterator[Any]:
    limit_lines(["default"], PATIENCE)
    yield connections["default"]
    unlimit_lines()
    end_what_goes_on()


def end_what_goes_on() -> None:
    """A server goes on with what nobody waits for any more."""
    if connection.vendor != "sqlite":
        cut_other_connections()


SLOW = {"postgresql": f"SELECT pg_sleep({2 * PATIENCE})", "mysql": f"SELECT SLEEP({2 * PATIENCE})"}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no line")
def test_only_the_connections_of_the_calling_thread_are_limited(limited: Any) -> None:
    given: dict[str, Any] = {}
    theirs = threading.Thread(target=lambda: given.update(connections["default"].settings_dict["OPTIONS"]))
    theirs.start()
    theirs.join()
    assert "connect_timeout" not in given
    assert limited.settings_dict["OPTIONS"]["connect_timeout"] == PATIENCE
    unlimit_lines()
    assert connections["default"].settings_dict["OPTIONS"] == given


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no line")
def test_what_the_project_says_wins_and_its_pool_is_left_to_it(transactional_db: None) -> None:
    connections["default"].close()
    before = connections["default"].settings_dict
    connections["default"].settings_dict = {**before, "OPTIONS": {"connect_timeout": 33, "pool": True}}
    limit_lines(["default"], 7.0)
    options = connections["default"].settings_dict["OPTIONS"]
    unlimit_lines()
    connections["default"].settings_dict = before
    assert options["connect_timeout"] == 33
    assert ("pool" in options) is (connection.vendor != "postgresql"), "only PostgreSQL has one"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no line")
def test_what_is_waited_for_can_be_cut(limited: Any) -> None:
    limited.ensure_connection()
    begun = time.monotonic()
    timer = threading.Timer(0.5, cut_lines, [own_lines()])
    timer.start()
    with pytest.raises(OperationalError), limited.cursor() as cursor:
        cursor.execute(SLOW[limited.vendor])
    timer.join()
    assert time.monotonic() - begun < PATIENCE, "its own end is no cut"
    limited.close()
    with limited.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no line")
def test_an_answer_that_does_not_come_in_time_ends_the_connection(transactional_db: None) -> None:
    limit_lines(["default"], 0.1)  # two seconds are the least
    limited = connections["default"]
    begun = time.monotonic()
    try:
        with pytest.raises(OperationalError), limited.cursor() as cursor:
            cursor.execute(SLOW[limited.vendor])
        assert 1.5 < time.monotonic() - begun < PATIENCE
    finally:
        unlimit_lines()
        end_what_goes_on()
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")


# --- how psycopg is made to wait --------------------------------------------------------------------------------------


class Raw:
    """The little of a connection that it needs."""

    def __init__(self) -> None:
        self.line, self.server = socket.socketpair()
        self.closed = False

    def fileno(self) -> int:
        return self.line.fileno()

    def wait(self, steps: Any, timeout: float) -> str:
        return f"its own way, {timeout} s"

    def close(self) -> None:
        self.closed = True


class Lost(Exception):
    pass


def asks(*wanted: int) -> Generator[int, int, list[int]]:
    """A statement that waits so, and returns what it was told."""
    told: list[int] = []
    for each in wanted:
        told += [(yield each)]
    return told


@pytest.fixture
def raw() -> Iterator[Raw]:
    raw = Raw()
    yield raw
    raw.line.close()
    raw.server.close()


def test_each_step_is_told_what_the_line_is_ready_for(raw: Raw) -> None:
    wait = Patience(raw, 1.0, Lost).wait
    assert wait(asks()) == []
    assert wait(asks(2, 3)) == [2, 2]
    raw.server.send(b"answer")
    assert wait(asks(1, 3, 2, 1)) == [1, 3, 2, 1]
    raw.server.close()
    assert wait(asks(1, 2)) == [1, 2], "so that the driver finds it broken"
    assert not raw.closed


def test_silence_ends_it_and_notifications_are_looked_for_in_its_own_way(raw: Raw) -> None:
    wait = Patience(raw, 0.3, Lost).wait
    with pytest.raises(Lost, match=r"no answer for 0\.3 s"):
        wait(asks(1))
    assert raw.closed
    assert wait(asks(1), timeout=0) == "its own way, 0 s"


def test_time_in_which_this_process_could_not_run_is_not_the_servers_silence(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that holds the interpreter, or a stop: hours are over after a look, and then the answer is there."""
    patience = Patience(raw, 0.3, Lost)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    class Frozen:
        def register(self, fd: int, events: int) -> None: ...

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            clock[0] += 3600
            return [] if clock[0] < 7000 else [(raw.fileno(), select.POLLIN)]

    patience._poll = Frozen()  # type: ignore[assignment]
    assert patience.wait(asks(1)) == [1]

"""How long a service's own threads wait on their database connections, and others for them.

A transaction of theirs has limits: how long it may wait for a lock, and stop in the middle. They hold in a transaction
and never beyond it. Behind a pooler a session is everybody's: what stayed on it would limit whoever gets it next.

A connection of theirs has a patience: how long it waits for an answer. It can lose packets in one direction only.
Keepalive does not see that, and the server's time-out message does not arrive, so the client must give up. PyMySQL and
mysqlclient have an option for that: the most seconds of a read. psycopg waits in Python, so we give it a wait of ours,
which ends. psycopg2 waits in C, where we cannot end it: there only the system's keepalive is left, which notices a peer
that is gone.

Connections of other threads, in which tasks run, are the project's: their options are what it says. Only what we ask
there ourselves, between two jobs, has a patience.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .dialects.prepared import prepare_ours

LEAST = 2.0  # seconds; a busy server may need so long for an answer
LOOK = 0.1  # seconds between two looks of a wait


@dataclass(frozen=True, slots=True)
class Limits:
    idle: float  # seconds that the server waits for the next statement before it ends the session
    wait: float  # seconds to wait for a lock


@dataclass(slots=True)
class Line:
    connection: Any
    settings: dict[str, Any]  # of the connection, as they were
    fd: int = -1  # some drivers tell it to no other thread


class _Own(threading.local):
    def __init__(self) -> None:
        self.limits: dict[str, Limits] = {}
        self.lines: list[Line] = []


_own = _Own()


def limit_transactions(databases: Collection[str], limits: Limits | None) -> None:
    """Limit the calling thread's own transactions from now on, there and nowhere else; None: no more."""
    _own.limits = {} if limits is None else dict.fromkeys(databases, limits)


def is_limited() -> bool:
    """Is the calling thread a service's own?"""
    return bool(_own.limits)


def limits_of(connection: BaseDatabaseWrapper) -> Limits | None:
    """For a transaction that is about to begin; None for one of a caller's, which is not ours to limit."""
    return None if connection.in_atomic_block else _own.limits.get(connection.alias)


def limit_lines(databases: Collection[str], patience: float) -> None:
    """For the calling thread. Its connections are closed; those that it opens from now on are limited.

    ``patience``: seconds of silence, while an answer is due, after which a connection is taken for lost.
    """
    unlimit_lines()  # a fork inherits those of its parent
    for alias in dict.fromkeys(databases):
        connection: Any = connections[alias]
        if not connection.in_atomic_block:  # a test's
            connection.close()
            line = Line(connection, connection.settings_dict)
            _own.lines.append(line)
            _limit(line, max(LEAST, patience))


def unlimit_lines() -> None:
    """The opposite, for who goes on living after having been a service."""
    for line in _own.lines:
        line.connection.close()
        line.connection.settings_dict = line.settings
        line.connection.__dict__.pop("get_new_connection", None)
    _own.lines.clear()


def own_lines() -> list[Line]:
    """Those of the calling thread, now and later: for another thread, which may have to cut them."""
    return _own.lines


def cut_lines(lines: Collection[Line]) -> None:
    """What their thread waits for fails at once, as it does when a server goes away."""
    for line in list(lines):
        if line.connection.connection is not None:
            _shut(line.fd)


def _shut(fd: int) -> None:
    # A socket of Python's is made late, because it changes how others wait on the same one.
    with suppress(OSError), socket.socket(fileno=os.dup(fd)) as end:
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cut_after(seconds: float, connection: Any) -> Iterator[None]:
    """What is asked there meanwhile is answered in that time, or fails as when the server goes away.

    For a connection that is not ours to limit, whatever its driver; one of SQLite has no line that could be lost.
    """
    raw = getattr(connection.connection, "_sock", None) or connection.connection  # PyMySQL has no fileno itself
    try:
        fd = os.dup(raw.fileno())
    except Exception:  # a driver that knows it for lost raises an error of its own; then no answer takes long
        yield
        return
    timer = threading.Timer(seconds, _shut, [fd])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        os.close(fd)


def _limit(line: Line, patience: float) -> None:
    connection, driver, seconds = line.connection, line.connection.Database.__name__, round(patience)
    given: dict[str, Any] = connection.settings_dict["OPTIONS"]
    options = {**given}
    if driver in {"MySQLdb", "pymysql"}:
        options = {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds, **given}
    elif driver in {"psycopg", "psycopg2"}:
        options = {"connect_timeout": seconds, **given}
        options.pop("pool", None)  # because others get its connections afterwards, and it has threads
    else:
        return
    if driver == "psycopg2":
        alive = {"keepalives_idle": seconds, "keepalives_interval": seconds, "keepalives_count": 2}
        options = {**alive, "tcp_user_timeout": seconds * 1000, **options}
    connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
    connect = connection.get_new_connection

    def get_new_connection(params: dict[str, Any]) -> Any:
        raw = connect(params)
        line.fd = (getattr(raw, "_sock", None) or raw).fileno()  # PyMySQL has no method of that name
        if driver == "psycopg":
            if hasattr(select, "poll"):
                raw.wait = Patience(raw, patience, connection.Database.OperationalError).wait
            if "prepare_threshold" not in given:
                prepare_ours(raw)
        return raw

    connection.get_new_connection = get_new_connection


class Patience:
    """How one connection of psycopg's waits, instead of its own way that knows no end."""

    def __init__(self, raw: Any, seconds: float, error: type[Exception]) -> None:
        self._raw = raw
        self._as_before = raw.wait
        self._seconds = seconds
        self._error = error
        self._poll = select.poll()

    def wait(self, steps: Generator[int, int, Any], *limits: Any, **named_limits: Any) -> Any:
        """Go through the steps of a statement; each waits until the line can be read (1) or written (2)."""
        if limits or named_limits:  # a look for notifications
            return self._as_before(steps, *limits, **named_limits)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(self._ready(wanted))
        except StopIteration as end:
            return end.value

    def _ready(self, wanted: int) -> int:
        self._poll.register(self._raw.fileno(), (wanted & 1 and select.POLLIN) | (wanted & 2 and select.POLLOUT))
        # Looks are counted and not seconds, because a server is not silent only because this process could not run.
        for _ in range(round(self._seconds / LOOK)):
            if found := self._poll.poll(LOOK * 1000):
                event = found[0][1]  # a broken line counts as ready, and its use fails
                return wanted & ((event != select.POLLOUT) | (event != select.POLLIN) << 1)
        self._raw.close()
        raise self._error(f"no answer for {self._seconds:g} s")

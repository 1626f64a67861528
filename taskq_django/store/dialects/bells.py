"""How a loop that sleeps learns of new jobs, by database."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from ...exceptions import BrokerUnavailable, one_line
from ...sleeper import Bell
from .prepared import is_pooled
from .turns import Turn, turn_at

# After work or a ring the loop looks again every few milliseconds for so long (seconds): enqueuers ring at most
# once per RING_PAUSE, and what they send in between must be found by looking.
ATTENTIVE = 0.06
RING_PAUSE = 0.015
GLANCE = 0.003


class ListenBell(Bell):
    """PostgreSQL's LISTEN, on the loop's own connection (no thread, no lock, one connection less)."""

    def __init__(self, connection: BaseDatabaseWrapper, channel: str) -> None:
        self._connection = connection
        self._channel = channel
        self._listening_on: Any = None  # the driver's connection that has our LISTEN; another after a reconnect
        self._polls: PollBell | None = None  # instead, where a pooler hands our session to others

    @property
    def source(self) -> str:
        return self._connection.alias

    @property
    def fd(self) -> int | None:
        raw = self._connection.connection
        return None if self._polls or raw is None or raw.closed else raw.fileno()

    def patience(self, idle: float) -> float:
        if self._polls:
            return self._polls.patience(idle)
        return GLANCE if idle < ATTENTIVE else 1.0

    def rang(self) -> bool:
        try:
            # The driver's own errors become Django's, as they do in a cursor.
            with self._connection.wrap_database_errors:
                return self._heard()
        except (DatabaseError, InterfaceError) as error:
            self._connection.close()
            raise BrokerUnavailable(f"LISTEN ended: {one_line(error)}") from error

    def _heard(self) -> bool:
        self._connection.ensure_connection()
        raw: Any = self._connection.connection
        if self._listening_on is not raw:
            self._listen(raw)
            return True  # what came before the LISTEN rang for nobody
        if self._polls:
            return False
        # A generator that is always run to its end: notifications must not stay queued.
        return len(list(raw.notifies(timeout=0))) > 0

    def _listen(self, raw: Any) -> None:
        """Unless there is a pooler: a LISTEN would stay on a session that the next transaction of anybody may get."""
        with self._connection.cursor() as cursor:
            self._polls = PollBell() if is_pooled(raw) else None
            if self._polls is None:
                cursor.execute(f"LISTEN {self._channel}")
        self._listening_on = raw

    def close(self) -> None:
        if self._listening_on is self._connection.connection and self._polls is None:
            with suppress(DatabaseError, InterfaceError), self._connection.cursor() as cursor:
                cursor.execute(f"UNLISTEN {self._channel}")
        self._listening_on = None


class DataVersionBell(Bell):
    """SQLite's ``PRAGMA data_version``: changes when another connection has committed.

    It is asked once the file's count of commits has changed, which is read without a lock and in a fifth of the time.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._version: int | None = None
        self._known: Any = None  # the driver's connection whose file this is
        self._turn: Turn
        self._commits = b""

    @property
    def source(self) -> str:
        return self._connection.alias

    def glance(self, idle: float) -> float:
        # 2 ms costs 2 % of a core, 10 ms under 1 %: attentive while there was work lately.
        return 0.002 if idle < 1 else 0.005 if idle < 3 else 0.01

    def patience(self, idle: float) -> float:
        return 1.0

    def rang(self) -> bool:
        try:
            # The driver's own errors become Django's, as they do in a cursor.
            with self._connection.wrap_database_errors:
                return self._has_changed()
        except (DatabaseError, InterfaceError) as error:
            self._connection.close()  # also what is half made: a lock may have stopped the project's init_command
            self._version, self._commits = None, b""  # what comes meanwhile rings afterwards
            if "locked" in str(error):  # by a VACUUM or a large import
                return False
            raise BrokerUnavailable(f"The database cannot be read: {one_line(error)}") from error

    def _has_changed(self) -> bool:
        self._connection.ensure_connection()
        raw: Any = self._connection.connection
        if raw is not self._known:
            self._known, self._turn = raw, turn_at(raw.execute("PRAGMA database_list").fetchone()[2])
            self._turn.meet()
        commits = self._turn.commits()
        if commits and commits == self._commits:
            return False
        self._commits = commits
        version = raw.execute("PRAGMA data_version").fetchone()[0]  # past Django's cursor: it runs 500 times a second
        changed: bool = version != self._version
        self._version = version
        return changed


class PollBell(Bell):
    """For databases that tell nothing: look often after work, then ever less, with jitter."""

    def patience(self, idle: float) -> float:
        # 0.1 s is what Solid Queue polls by; a look is one probe of an index and costs a process 0.5 % of a core so.
        return min(0.1, max(GLANCE, idle / 10)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter

    def rang(self) -> bool:
        return False

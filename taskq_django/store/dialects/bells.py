"""How a loop that sleeps learns of new jobs, by database."""

from __future__ import annotations

import math
import random
from contextlib import suppress
from time import monotonic
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from ...exceptions import BrokerUnavailable, one_line
from ...sleeper import Bell
from .file_watch import FileWatch
from .prepared import is_pooled
from .turns import Turn, turn_at

# Enqueuers ring at most once per RING_PAUSE. What they send in between must be found by looking, so after work the loop
# looks every GLANCE until they would ring again, and then seldom until what was slow to be committed is there too.
RING_PAUSE = 0.015  # seconds
GLANCE, SELDOM = 0.003, 0.02
ATTENTIVE = 0.06

# After a file was written to, a loop looks at it for so long, and waits to be told again afterwards.
LINGER = 0.015  # seconds
# A watch that has told nothing of so many commits in a row is deaf: the file lies where another host writes to it, say.
# A commit may be counted long after its first write, when the disk is slow.
MOST_UNHEARD, LATELY = 3, 1.0  # the second in seconds


def beside_rings(idle: float) -> float:
    """The patience of a bell that enqueuers ring once per RING_PAUSE."""
    return GLANCE if idle < RING_PAUSE + GLANCE else SELDOM if idle < ATTENTIVE else 1.0


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
        return beside_rings(idle)

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
    While nobody writes to the file, the loop waits for the system to tell of it, and looks seldom.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._version: int | None = None
        self._known: Any = None  # the driver's connection whose file this is
        self._path = ""
        self._turn: Turn
        self._commits = b""
        self._watch: FileWatch | None = None
        self._written_at = -math.inf  # as the watch has told
        self._unheard = 0  # commits of which it has told nothing

    @property
    def source(self) -> str:
        return self._connection.alias

    @property
    def fd(self) -> int | None:
        return self._watch.fd if self._watch and not self._is_written else None

    @property
    def _is_written(self) -> bool:
        """Lately? A file is written to before its commits are counted, and often again: a look is cheaper then."""
        return monotonic() - self._written_at < LINGER

    def glance(self, idle: float) -> float:
        if self.fd is not None:
            return 0.1
        # 2 ms costs 3 % of a core, 10 ms 1 %: attentive while there was work lately.
        return 0.002 if idle < 1 else 0.005 if idle < 3 else 0.01

    def patience(self, idle: float) -> float:
        return LINGER if self._watch and self._is_written else 1.0

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
        is_new = raw is not self._known
        if is_new:
            self._path = raw.execute("PRAGMA database_list").fetchone()[2]
            self._known, self._turn = raw, turn_at(self._path)
            self._turn.meet()
        commits = self._turn.commits()
        was_told = self._is_written or self._hears()
        if commits and commits == self._commits:
            return False
        self._commits = commits
        version = raw.execute("PRAGMA data_version").fetchone()[0]  # past Django's cursor: it runs 500 times a second
        changed: bool = version != self._version
        self._version = version
        if was_told or monotonic() - self._written_at < LATELY:
            self._unheard = 0
        if is_new or not was_told:
            self._watch_anew(is_new)
        return changed

    def _hears(self) -> bool:
        heard = self._watch is not None and self._watch.was_written()
        if heard:
            self._written_at = monotonic()
        return heard

    def _watch_anew(self, is_new: bool) -> None:
        """Of a new connection, or because the watch has missed a commit: a "-wal" may be new, or nobody can be heard.

        After the first reading, which makes the "-wal".
        """
        self._unheard = 0 if is_new else self._unheard + (monotonic() - self._written_at >= LATELY)
        if is_new:
            self.close()
            with suppress(OSError):
                self._watch = FileWatch() if self._path else None
        if self._watch and self._unheard > MOST_UNHEARD:
            self.close()
        if self._watch:
            self._watch.add([self._path, f"{self._path}-wal"])

    def close(self) -> None:
        if self._watch:
            self._watch.close()
            self._watch = None


class PollBell(Bell):
    """For databases that tell nothing: look often after work, then ever less, with jitter."""

    def patience(self, idle: float) -> float:
        # 0.1 s is what Solid Queue polls by; a look is one probe of an index and costs a process 0.5 % of a core so.
        return min(0.1, max(GLANCE, idle / 10)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter

    def rang(self) -> bool:
        return False

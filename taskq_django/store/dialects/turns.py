"""How the connections of one process take turns at an SQLite file, and leave it to others in between.

Where transactions begin without a lock (Django's default), one that has read and then wants to write fails at once if
anybody else is writing: waiting could not help it. So whoever is a guest here begins with the lock that it needs, and

- on a rollback journal (SQLite's default) locks the whole file, while nobody reads: who reads might be about to write;
- on a WAL, where nobody can be kept from reading, begins at least while nobody does.

SQLite cannot be asked who reads without a first lock, which fails others already. The system can: it knows of each
lock on the file that other processes hold. Within the process a lock of its own decides who is next.

Between that look and SQLite's lock somebody may come, read, and be failed. So on a rollback journal the look is taken
behind a closed door: whoever begins to read has to lock SQLite's "pending" byte, and cannot while we have it. For a
look the door is shut for microseconds; after PATIENCE it stays shut, for up to SLICE at a time, until all readers have
left.

SQLite unlocks the pending byte when this process begins to read, and our lock goes too, because a process has one set
of locks. So our own read begins first and stays open.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from time import monotonic
from typing import Any

from django.db import OperationalError

try:
    import fcntl
except ImportError:  # Windows; there SQLite is asked only
    fcntl = None  # type: ignore[assignment]

# We wait up to PATIENCE for a moment without readers. After that we lock new readers out, because otherwise we might
# never get a turn. On a WAL nobody can be locked out, and a look helps some only: after a short wait we begin anyway.
PATIENCE, PATIENCE_ON_WAL = 5.0, 0.1  # seconds
# A wait is made of such pieces: an interrupt of a task comes in between. So long the door is shut at most.
SLICE = 0.5  # seconds
# The pause after a transaction, at most and at least. Pauses under 1 ms are added up, because a shorter sleep takes
# much longer than asked.
LONGEST_REST, SHORTEST_REST = 0.05, 0.001  # seconds
# Others write when two commits that are not ours come within AGAIN, and for OTHERS_WRITE after them. One alone means
# nothing: the supervisor renews a lease.
AGAIN, OTHERS_WRITE = 1.0, 2.0  # seconds

# Of SQLite's file format: where readers and writers lock a file (bytes), and where it counts its commits.
JOURNAL_LOCKS, JOURNAL_COUNT = (0x40000000, 512), 24
# The first two of these bytes: of who is about to begin, and of who writes or is about to.
PENDING, RESERVED = 0x40000000, 0x40000001
# The same of the index beside a WAL ("-shm").
WAL_LOCKS, WAL_COUNT = (123, 5), 8

_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi"

# Elsewhere than on Linux this has not been tried, and a look without it must do.
HAS_DOOR = sys.platform == "linux"

Begin = Callable[[str, float], None]  # the mode, and for how many seconds the lock is waited for
Read = Callable[[], Any]  # a cursor that reads until it is closed


class Watched:
    """What the system knows of a file that SQLite locks."""

    def __init__(self, path: str, locks: tuple[int, int], count_at: int) -> None:
        self._path, self._locks, self._count_at = path, locks, count_at
        self._fd = -1
        # The same byte is locked by SQLite for others of this process, and to unlock it is theirs.
        self._has_shut = False

    def is_locked(self) -> bool:
        """Does another process hold a lock? False too where that cannot be known."""
        return self._is_locked_at(*self._locks)

    def _is_locked_at(self, start: int, length: int) -> bool:
        if fcntl is None or not self._is_open():
            return False
        if sys.platform == "darwin":
            asked = struct.pack(_FLOCK, start, length, 0, fcntl.F_WRLCK, os.SEEK_SET)
        else:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
        try:
            answer = struct.unpack(_FLOCK, fcntl.fcntl(self._fd, fcntl.F_GETLK, asked)[: struct.calcsize(_FLOCK)])
        except OSError:
            return False
        return bool(answer[3 if sys.platform == "darwin" else 0] != fcntl.F_UNLCK)

    def shut(self) -> bool:
        """Nobody else can begin to read, until ``open`` or the end of a transaction here; False if somebody is at it.

        True too where that cannot be done. Only while a connection of this process reads.
        """
        if self._is_open():
            with suppress(OSError):
                try:
                    fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, PENDING)
                    self._has_shut = True
                except (BlockingIOError, PermissionError):
                    return False
        return True

    def open(self) -> None:
        """If we have shut it. May be called when it is open, as it is after SQLite has ended a transaction."""
        if self._has_shut:
            self._has_shut = False
            with suppress(OSError):
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, PENDING)

    def empties(self, wait: float) -> bool:
        """Shut, does everybody else leave in that time? Who has come to write will not: to end, it needs the door."""
        deadline = monotonic() + wait
        while self.is_locked():
            if monotonic() >= deadline or self._is_locked_at(RESERVED, 1):
                return False
            _pause()
        return True

    def count(self) -> bytes:
        """Changes with each commit; b"" where it cannot be read."""
        try:
            return os.pread(self._fd, 4, self._count_at) if fcntl is not None and self._is_open() else b""
        except OSError:
            return b""

    def find_again(self) -> None:
        """Another file may be at the path by now."""
        with suppress(OSError):
            if self._fd >= 0 and not os.path.samestat(os.fstat(self._fd), os.stat(self._path)):  # noqa: PTH116 - as fstat
                self._open_anew()

    def _is_open(self) -> bool:
        if self._fd < 0:
            self._open_anew()
        return self._fd >= 0

    def _open_anew(self) -> None:
        for access in (os.O_RDWR, os.O_RDONLY):
            with suppress(OSError):
                # Never closed: a process that closes any of its files loses all its locks on it, those of SQLite too.
                self._fd = os.open(self._path, access | os.O_CLOEXEC)
                break


class Turn:
    """Of one file. One thread at a time has it."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._journal = Watched(path, JOURNAL_LOCKS, JOURNAL_COUNT)
        self._wal = Watched(f"{path}-shm", WAL_LOCKS, WAL_COUNT)
        self._seen: bytes | None = None  # the count of commits when we had finished last
        self._begun = self._rest_until = self._due = 0.0
        self._other_at = float("-inf")  # a commit that was not ours
        self._others_at = float("-inf")  # and the last one that came soon after another

    def take(self, begin: Begin, read: Read, *, is_deferred: bool, has_wal: bool, wait: float) -> None:
        """Begin a transaction when it is our turn; ``wait``: seconds to wait for who has the file.

        ``is_deferred``: the project's transactions begin without a lock. Raises OperationalError.
        """
        deadline = monotonic() + wait
        while not self._lock.acquire(timeout=SLICE):
            if monotonic() > deadline:
                raise OperationalError("database is locked")
        try:
            if (left := self._rest_until - monotonic()) > 0:
                time.sleep(left)
            file = self._wal if has_wal else self._journal
            if self._seen not in (None, file.count()):
                now = monotonic()
                if now - self._other_at < AGAIN:
                    self._others_at = now
                self._other_at = now
            if HAS_DOOR and is_deferred and not has_wal:
                begin = _alone(begin, read, file)
            self._begin(begin, file, is_deferred=is_deferred, has_wal=has_wal, wait=wait)
        except BaseException:
            self._lock.release()
            raise
        self._begun = monotonic()

    def leave(self, *, has_wal: bool) -> None:
        """The transaction has ended; rest, twice as long as it took while others write. May be called twice.

        Then the file is free most of the time. Alone we rest a quarter of it, so that who comes first finds a gap.
        """
        if not self._lock._is_owned():  # type: ignore[attr-defined]
            return
        now = monotonic()
        if HAS_DOOR and not has_wal:
            self._journal.open()  # as SQLite has done, unless it locks in a way of its own
        self._seen = (self._wal if has_wal else self._journal).count() or os.urandom(4)
        took = now - self._begun
        self._due += 2 * took if now - self._others_at < OTHERS_WRITE else took / 4
        if self._due >= SHORTEST_REST:
            self._rest_until, self._due = now + min(LONGEST_REST, self._due), 0.0
        self._lock.release()

    def commits(self) -> bytes:
        """Changes with each commit, of this process too; b"" where it cannot be read."""
        count = self._journal.count()
        return count and count + self._wal.count()  # without a WAL there is nothing to count

    def meet(self) -> None:
        """A connection of this process is new. So may be the files: a "-shm" goes with the last connection."""
        self._journal.find_again()
        self._wal.find_again()

    def rest(self, seconds: float) -> None:
        """Longer, while others write."""
        if monotonic() - self._others_at < OTHERS_WRITE:
            self._rest_until = max(self._rest_until, monotonic() + seconds)

    @staticmethod
    def _begin(begin: Begin, file: Watched, *, is_deferred: bool, has_wal: bool, wait: float) -> None:
        mode = "EXCLUSIVE" if is_deferred and not has_wal else "IMMEDIATE"
        deadline = monotonic() + (PATIENCE_ON_WAL if has_wal else PATIENCE)
        while is_deferred and monotonic() < deadline:
            if not file.is_locked():
                try:
                    begin(mode, 0)
                    return
                except OperationalError as error:  # somebody came first, or reads in this process
                    if "locked" not in str(error):
                        raise
            _pause()
        deadline = monotonic() + wait
        while True:
            try:
                begin(mode, min(wait, SLICE))
                return
            except OperationalError as error:
                if "locked" not in str(error) or monotonic() > deadline:
                    raise


def _alone(begin: Begin, read: Read, file: Watched) -> Begin:
    """The same, but it fails nobody: rather it raises that the database is locked."""

    def begun(mode: str, wait: float) -> None:
        started = monotonic()
        try:
            with _behind_a_door(read, file, wait):
                begin(mode, 0)
        except OperationalError:
            if wait:
                _pause()
                time.sleep(monotonic() - started)  # for as long as others were kept waiting they have it
            raise

    return begun


@contextmanager
def _behind_a_door(read: Read, file: Watched, wait: float) -> Iterator[None]:
    with ExitStack() as undo:
        undo.callback(file.open)
        # Closed before the door opens: with it goes what a begin that failed, for a reader in this process, locked.
        with closing(read()):
            if not (file.shut() and file.empties(wait)):
                raise OperationalError("database is locked")
            yield
        undo.pop_all()  # SQLite has locked that byte as well, and at the end opens to readers what is behind it first


def _pause() -> None:
    time.sleep(random.uniform(0.0003, 0.0015))  # noqa: S311 - jitter


_turns: dict[str, Turn] = {}
if hasattr(os, "register_at_fork"):
    # In a copy of this process nobody has a turn: the threads that had one are not there, and no lock is inherited.
    os.register_at_fork(after_in_child=_turns.clear)


def turn_at(path: str) -> Turn:
    """The one of this file in this process; another after a fork."""
    return _turns.get(path) or _turns.setdefault(path, Turn(path))

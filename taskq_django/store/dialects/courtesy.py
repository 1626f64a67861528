"""How a worker leaves an SQLite file to its other users: those of its loops, and those of its tasks' threads.

SQLite has one writer at a time and no queue for it: who finds the file locked asks again after 1, 2, 5 … 100 ms. So
loops and tasks take turns (turns.py says which), and rest in between.

Where a project sets ``transaction_mode = "IMMEDIATE"``, its transactions wait by themselves: then only the rests of the
loops are left to do. On a WAL without that mode each commit of ours fails the transactions which have read during ours
and write after it: only the mode ends that. Check and banner advise it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .turns import Turn, turn_at

# The pause after a loop's transaction on a WAL with deferred transactions, while others write.
LONG_REST = 0.05  # seconds
# How long a task waits for its turn, if the project does not let it wait for longer.
TASKS_WAIT = 30.0  # seconds

WRITES = re.compile(
    r"\s*(?:INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|WITH\b.*\b(?:INSERT|UPDATE|DELETE)\b)",
    re.IGNORECASE | re.DOTALL,
)


class _Place:
    """A connection and the file it is to."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection: Any = connection
        self._known: Any = None  # the driver's connection whose file this is
        self._path = ""
        self._turn: Turn
        self._has_wal = False
        self._waits = 0  # milliseconds, as the project has set it

    def _look(self) -> None:
        """What it is to, and what the project has asked of it."""
        self._connection.ensure_connection()
        raw = self._connection.connection
        is_new = self._known is not raw
        with self._connection.wrap_database_errors:  # a new connection reads the file, which may be locked
            if is_new:
                self._path = self._pragma("database_list", column=2)
            self._waits = self._pragma("busy_timeout")
            self._has_wal = self._pragma("journal_mode") == "wal"
        self._turn = turn_at(self._path)
        if is_new and self._has_wal:
            self._turn.meet()
        self._known = raw

    @property
    def _is_deferred(self) -> bool:
        """Whether the project's transactions begin without a lock, as they do by default."""
        return self._connection.transaction_mode in {None, "DEFERRED"}

    @contextmanager
    def _waiting(self, seconds: float) -> Iterator[None]:
        self._pragma(f"busy_timeout = {int(seconds * 1000)}")
        try:
            yield
        finally:
            self._pragma(f"busy_timeout = {self._waits}")

    def _read(self) -> Any:
        """A cursor with a row left to fetch: until it is closed its connection holds SQLite's lock of readers."""
        with self._connection.wrap_database_errors, self._waiting(0):
            return self._connection.connection.execute("PRAGMA user_version")

    def _pragma(self, text: str, column: int = 0) -> Any:
        # Past Django's cursor: these run with every transaction.
        return (self._connection.connection.execute(f"PRAGMA {text}").fetchone() or [None] * 3)[column]


class Courtesy(_Place):
    """Begins and ends the write transactions of one loop; belongs to its thread and its connection."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._connection.in_atomic_block:  # a test's: run_all works inside of it
            yield
            return
        self._look()
        stack = ExitStack()

        def begin(mode: str, wait: float) -> None:
            theirs, self._connection.transaction_mode = self._connection.transaction_mode, mode
            try:
                with self._waiting(wait):
                    stack.enter_context(transaction.atomic(using=self._connection.alias))
            finally:
                self._connection.transaction_mode = theirs

        is_deferred = self._is_deferred
        self._turn.take(begin, self._read, is_deferred=is_deferred, has_wal=self._has_wal, wait=self._waits / 1000)
        try:
            with stack:
                yield
        finally:
            self._turn.leave(has_wal=self._has_wal)
        if is_deferred and self._has_wal:
            self._turn.rest(LONG_REST)


class Guest(_Place):
    """The same for what tasks do by a connection of their own, where transactions begin without a lock.

    Such a transaction takes no lock before its first statement, and neither does this. A statement that writes alone
    is one of its own.
    """

    @classmethod
    def welcome(cls, connection: Any) -> None:
        """From now on that connection takes turns. May be called again."""
        guest = cls(connection)
        wrappers = connection.execute_wrappers
        if any(isinstance(each, cls) for each in wrappers) or not guest._is_deferred or connection.is_in_memory_db():
            return
        wrappers.insert(0, guest)  # not last: that one is taken away by whoever has added one for a block
        connection._start_transaction_under_autocommit = lambda: None
        for name in ("_commit", "_rollback", "_close"):
            setattr(connection, name, guest._then_leave(getattr(connection, name)))

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        cursor, raw = context["cursor"], self._connection.connection
        if isinstance(cursor.cursor, _Fetched):
            cursor.cursor = cursor.cursor.original
        if raw.in_transaction or raw.isolation_level is not None:
            return execute(sql, params, many, context)
        if self._connection.in_atomic_block:
            self._begin()
            return execute(sql, params, many, context)
        if not WRITES.match(sql):
            return execute(sql, params, many, context)
        self._begin()
        try:
            answer = execute(sql, params, many, context)
            rows = cursor.cursor.fetchall() if cursor.cursor.description else None
            with self._connection.wrap_database_errors:
                raw.commit()
        except BaseException:
            raw.rollback()
            raise
        finally:
            self._turn.leave(has_wal=self._has_wal)
        if rows is not None:
            cursor.cursor = _Fetched(cursor.cursor, rows)
        return answer

    def _begin(self) -> None:
        self._look()

        def begin(mode: str, wait: float) -> None:
            with self._connection.wrap_database_errors, self._waiting(wait):
                self._connection.connection.execute(f"BEGIN {mode}")

        wait = max(TASKS_WAIT, self._waits / 1000)
        self._turn.take(begin, self._read, is_deferred=True, has_wal=self._has_wal, wait=wait)

    def _then_leave(self, act: Callable[[], None]) -> Callable[[], None]:
        def acted() -> None:
            try:
                act()
            finally:
                if self._known is not None and not self._is_inside():
                    self._turn.leave(has_wal=self._has_wal)

        return acted

    def _is_inside(self) -> bool:
        """A commit that failed, because the file is locked, may be tried again."""
        raw = self._connection.connection
        try:
            return raw is not None and raw.in_transaction
        except Exception:
            return False


class _Fetched:
    """A cursor whose rows have been read, before the transaction of its statement ended."""

    def __init__(self, original: Any, rows: Sequence[Any]) -> None:
        self.original = original
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        return list(islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

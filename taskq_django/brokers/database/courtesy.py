"""How a worker leaves an SQLite file to its other users.

SQLite has one writer at a time and no queue for it: who finds the file locked asks again after 1, 2, 5 … 100 ms.
A transaction that has read and then wants to write is worse off: it fails at once where waiting could not help it.
So a worker's transactions

- begin with the lock that they need, and never fail themselves;
- on a rollback journal (SQLite's default) begin only while nobody reads: a transaction of the project that has
  read already, and is about to write, would find our lock and fail. (SQLite takes a first lock before it looks for
  readers, so one that comes in just then can still fail: one in thousands under full load);
- rest, twice as long as they took while others write: most of the time the file is free. Alone they rest a quarter of
  it, so that who comes first finds a gap;
- rest longer on a WAL, while others write: there each commit of ours fails the transactions that have read before
  it and have not written yet: many of them. Only ``transaction_mode = "IMMEDIATE"`` ends that; the banner advises it.

Where a project sets that mode, its transactions wait, and only the rests are left to do.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# So long a worker waits for a moment without readers; then it takes its turn as anybody does.
PATIENCE = 1.0  # seconds
# The pause after a transaction: at most; and on a WAL with deferred transactions, while others write.
LONGEST_REST, LONG_REST = 0.05, 0.05  # seconds
# For how long another's commit means that others write.
OTHERS_WRITE = 10.0  # seconds


class Courtesy:
    """Begins and ends the write transactions of one loop; belongs to its thread and its connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection: Any = connection
        self._rest_until = 0.0
        self._version: int | None = None
        self._others_at = float("-inf")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._connection.in_atomic_block:  # a test's: run_all works inside of it
            yield
            return
        time.sleep(max(0.0, self._rest_until - monotonic()))
        with ExitStack() as stack:
            self._begin(stack)
            begun = monotonic()
            yield
        ended = monotonic()
        self._rest_until = ended + self._rest(ended - begun)

    def _begin(self, stack: ExitStack) -> None:
        self._connection.ensure_connection()
        deadline = monotonic() + PATIENCE
        while self._is_deferred and not self._has_wal and monotonic() < deadline:
            try:
                with self._beginning("EXCLUSIVE", wait=0):
                    stack.enter_context(transaction.atomic(using=self._connection.alias))
                return
            except OperationalError:  # somebody reads or writes
                time.sleep(random.uniform(0.0005, 0.003))  # noqa: S311 - jitter
        with self._beginning("IMMEDIATE", wait=self._timeout):
            stack.enter_context(transaction.atomic(using=self._connection.alias))

    @contextmanager
    def _beginning(self, mode: str, wait: float) -> Iterator[None]:
        """Transactions of this connection begin so meanwhile; ``wait``: seconds to wait for a lock."""
        theirs, self._connection.transaction_mode = self._connection.transaction_mode, mode
        self._pragma(f"busy_timeout = {int(wait * 1000)}")
        try:
            yield
        finally:
            self._pragma(f"busy_timeout = {int(self._timeout * 1000)}")
            self._connection.transaction_mode = theirs

    def _rest(self, took: float) -> float:
        version, self._version = self._version, self._pragma("data_version")
        if version not in (None, self._version):
            self._others_at = monotonic()
        if monotonic() - self._others_at > OTHERS_WRITE:
            return min(took / 4, LONGEST_REST)
        return LONG_REST if self._is_deferred and self._has_wal else min(2 * took, LONGEST_REST)

    @property
    def _is_deferred(self) -> bool:
        """Whether the project's transactions begin without a lock, as they do by default."""
        return self._connection.transaction_mode in {None, "DEFERRED"}

    @property
    def _has_wal(self) -> bool:
        return bool(self._pragma("journal_mode") == "wal")

    @property
    def _timeout(self) -> float:
        """Seconds that the project lets a connection wait for a lock (5 is what sqlite3 does by default)."""
        seconds: float = self._connection.settings_dict["OPTIONS"].get("timeout", 5.0)
        return seconds

    def _pragma(self, text: str) -> Any:
        # Past Django's cursor: these run with every transaction.
        return (self._connection.connection.execute(f"PRAGMA {text}").fetchone() or [None])[0]

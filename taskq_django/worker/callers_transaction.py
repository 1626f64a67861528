"""A job that runs in the transaction of a test, where a worker's would have committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connections


@contextmanager
def as_if_committed() -> Iterator[None]:
    """At the end of a run call what it has left for its commit, and leave the caller a transaction that works.

    After an error of the database PostgreSQL takes no statement more in it; then what the job has written is undone,
    as far as it was not undone by the job itself.
    """
    held = [_Held(connection) for connection in connections.all(initialized_only=True) if connection.in_atomic_block]
    try:
        yield
    finally:
        for each in held:
            each.end()


class _Held:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._before = list(connection.run_on_commit)
        self._savepoint = connection.savepoint()

    def end(self) -> None:
        connection = self._connection
        if not connection.in_atomic_block:
            return  # the task has let go of it
        is_whole = self._release()
        new = [each for each in connection.run_on_commit if each not in self._before]
        connection.run_on_commit = [each for each in connection.run_on_commit if each in self._before]
        for _, callback, _ in new if is_whole else ():
            callback()

    def _release(self) -> bool:
        connection = self._connection
        if not connection.needs_rollback:
            try:
                connection.savepoint_commit(self._savepoint)
            except DatabaseError:
                pass
            else:
                return True
        connection.needs_rollback = False
        connection.savepoint_rollback(self._savepoint)
        return False

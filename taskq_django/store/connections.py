"""The database connections of threads: our own transactions on them, and what to do with a lost one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .dialects.vendors import dialect_of, is_supported
from .limits import Limits, limit_lines, limit_transactions, unlimit_lines

T = TypeVar("T")

OUTAGE = (DatabaseError, InterfaceError)
LONGEST_WAIT = 5.0  # seconds for a lock; then the transaction is tried again later


def own_transaction(database: str) -> AbstractContextManager[None]:
    """A write transaction that is a worker's own: it leaves room for those of the project."""
    connection = connections[database]
    return dialect_of(connection).transaction(connection)


def limit_own_sessions(databases: Collection[str], lease: float) -> None:
    """Limit the transactions of the calling thread, so that a service that is stopped in one holds nobody up for long.

    Tasks have connections of their own, in other threads. Nothing stays on a session, because the next transaction on
    it may be anybody's.
    """
    limit_transactions(databases, Limits(idle=lease, wait=min(LONGEST_WAIT, lease / 2)))
    limit_lines(databases, patience_of(lease))


def patience_of(lease: float) -> float:
    """Seconds for which a service waits for an answer on its own sessions: longer than for a lock."""
    return max(lease / 3, min(LONGEST_WAIT, lease / 2) + 1)


def unlimit_sessions() -> None:
    """The opposite, for a thread that goes on living after it was a service's."""
    limit_transactions((), None)
    unlimit_lines()


def welcome(connection: BaseDatabaseWrapper) -> None:
    """Have what tasks do there leave room for what the project does besides."""
    if is_supported(connection):
        dialect_of(connection).welcome(connection)


def let_go(connection: Any) -> None:
    """Close it, whatever Django believes of it; what was open is rolled back by the server.

    A connection that breaks while it is being made, or while a block is entered, stays "in an atomic block" for ever.
    """
    connection.in_atomic_block = False
    connection.savepoint_ids = []
    connection.needs_rollback = False
    connection.run_on_commit = []
    with suppress(Exception):
        connection.close()
    connection.connection = None
    connection.closed_in_transaction = False


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether what is written now becomes true with a caller's commit: in its block, or with its autocommit off."""
    return connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)


def ask(database: str, question: Callable[[], T]) -> T:
    """Its answer; asked again on a new connection where the old one was lost, but never in a caller's transaction.

    For what writes nothing.
    """
    connection = connections[database]
    is_callers = in_transaction(connection)
    try:
        return question()
    except OUTAGE:
        if is_callers or (connection.connection is not None and connection.is_usable()):
            raise
        let_go(connection)
        return question()


def replace_lost(database: str) -> None:
    """Before what cannot be asked twice: let go of a connection that was lost while nobody used it."""
    connection = connections[database]
    if connection.connection is not None and not in_transaction(connection) and not connection.is_usable():
        let_go(connection)


def code_of(error: BaseException | None) -> str | int | None:
    """SQLSTATE on PostgreSQL, the error's number on MySQL and MariaDB."""
    if error and error.args and isinstance(error.args[0], int):
        return error.args[0]
    cause = error and error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def lacks_table(error: Exception) -> bool:
    """Is a table or a column missing, which a migration would bring?"""
    text = str(error)
    return code_of(error) in {"42P01", "42703", 1146, 1054} or "no such table" in text or "no such column" in text

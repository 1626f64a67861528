"""A service's own statements on PostgreSQL are prepared: to plan one takes the server longer than to run it."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

# A plan is kept, and may be made while the table is nearly empty: then a scan of it all is the cheapest, and it stays
# when a million jobs come.
PLANS_LAST = 1.0  # seconds


def is_pooled(raw: Any) -> bool:
    """Does a pooler stand between this connection of psycopg's and the server, which may hand the session to others?

    A server tells its number when it is connected to, and a pooler another: it has several sessions.
    """
    return bool(raw.info.backend_pid != raw.execute("SELECT pg_backend_pid()").fetchone()[0])


def prepare_ours(raw: Any) -> None:
    """From now on, on this new connection of a service; not where the next statement may come to another session."""
    if not is_pooled(raw):
        raw.prepare_threshold = 0
    raw.rollback()


def are_prepared(connection: BaseDatabaseWrapper) -> bool:
    return getattr(connection.connection, "prepare_threshold", None) == 0


def prepared_cursor(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """One whose statements are prepared, where ours are. Those of the ORM and the project are bound by the client."""
    cursor: CursorWrapper = connection.cursor()
    if are_prepared(connection):
        cursor.cursor = connection.Database.Cursor(connection.connection)  # type: ignore[attr-defined]
    return cursor

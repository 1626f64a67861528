"""A service's own statements on PostgreSQL are prepared: to plan one takes the server longer than to run it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

# A plan is kept, and may be made while the table is nearly empty: then a scan of it all is the cheapest, and it stays
# when a million jobs come.
PLANS_LAST = 1.0  # seconds
# Where nobody knows how long a connection lives, what was executed so often is prepared, as psycopg has it.
OFTEN = 5

_executed: WeakKeyDictionary[Any, float] = WeakKeyDictionary()  # how often, by psycopg's connection


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


def execute_often(cursor: CursorWrapper, sql: str, given: Sequence[Any]) -> None:
    """On a caller's connection: prepared from the OFTEN-th time on, unless the next may come to another session."""
    connection = cursor.db
    raw: Any = connection.connection
    if getattr(raw, "prepare_threshold", 0) is None and _is_worth_it(raw, connection):
        cursor.cursor = connection.Database.Cursor(raw)
        raw.prepare_threshold = 0  # for this statement; the project's own stay as they are
        try:
            cursor.execute(sql, given)
        finally:
            raw.prepare_threshold = None
    else:
        cursor.execute(sql, given)


def _is_worth_it(raw: Any, connection: BaseDatabaseWrapper) -> bool:
    count = _executed.get(raw, 0) + 1
    if count == OFTEN:
        with connection.wrap_database_errors:
            # The setting is Django's, for poolers.
            if connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS") or is_pooled(raw):
                count = -math.inf
    _executed[raw] = count
    return count >= OFTEN

"""What a project may mend about a database. Said when a worker starts, and by the checks, which do not connect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ...conf.declaration import Problem, described

WAL_OPTIONS = '{"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}'

MAX_CONNECTIONS = {
    "postgresql": "SELECT sum(CASE name WHEN 'max_connections' THEN 1 ELSE -1 END * setting::int) FROM pg_settings "
    "WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')",
    "mysql": "SELECT @@max_connections",  # one more for its superuser
}


def max_connections(connection: BaseDatabaseWrapper) -> int:
    """What the server allows to whoever is not its superuser; 0 where there is no server."""
    sql = MAX_CONNECTIONS.get(connection.vendor)
    return int(_asked(connection, sql)) if sql else 0


def advice(connection: Any) -> str:
    """What is to be set for workers to be fast there, and why; "" for nothing."""
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return ""
    has_wal, waits = _asked(connection, "PRAGMA journal_mode") == "wal", _waits(connection)
    if has_wal and waits:
        return ""
    if waits:
        why = "faster on SQLite"
    elif has_wal:
        why = "needed on this SQLite, or the project's transactions fail beside tasks and workers (database is locked)"
    else:
        why = "needed on SQLite as soon as tasks write much: until then nobody can read while one writes"
    return f'{why}: DATABASES["{connection.alias}"]["OPTIONS"] = {WAL_OPTIONS}'


def setting_problems(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    """What its settings say already. Does not connect."""
    where, options = f'DATABASES["{connection.alias}"]', connection.settings_dict["OPTIONS"]
    has_wal = "wal" in str(options.get("init_command", "")).lower()
    if connection.vendor == "sqlite" and has_wal and not _waits(connection):
        message = 'has a WAL, and OPTIONS without "transaction_mode": "IMMEDIATE".'
        hint = 'Set it: else transactions that read and then write fail with "database is locked" beside a worker.'
        yield Problem(where, message, hint, "W010")
    level = options.get("isolation_level", "read committed")
    if connection.vendor == "mysql" and str(level).lower() != "read committed":
        message = f"has the isolation level {described(level)}."
        hint = 'Claims and inserts then lock the gaps between rows and wait for each other; use "read committed".'
        yield Problem(where, message, hint, "W002")


def _waits(connection: BaseDatabaseWrapper) -> bool:
    """Does a transaction of SQLite wait for its turn before it reads?"""
    mode = connection.settings_dict["OPTIONS"].get("transaction_mode")
    return str(mode).upper() in {"IMMEDIATE", "EXCLUSIVE"}


def _asked(connection: BaseDatabaseWrapper, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]

"""The databases that can hold jobs, and the dialect of each."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ...exceptions import ConfigurationError
from .base import Dialect
from .mysql import MySQL
from .postgresql import PostgreSQL
from .recording.base import Recorder
from .recording.mysql import MySQLRecorder
from .recording.postgresql import PostgreSQLRecorder
from .recording.sqlite import SQLiteRecorder
from .sqlite import SQLite

DIALECTS: dict[str, Dialect] = {"mysql": MySQL(), "postgresql": PostgreSQL(), "sqlite": SQLite()}
RECORDERS: dict[str, Recorder] = {
    "mysql": MySQLRecorder(DIALECTS["mysql"]),
    "postgresql": PostgreSQLRecorder(DIALECTS["postgresql"]),
    "sqlite": SQLiteRecorder(DIALECTS["sqlite"]),
}


def is_supported(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor in DIALECTS


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    try:
        return DIALECTS[connection.vendor]
    except KeyError:
        raise ConfigurationError(
            f"DATABASES[{connection.alias!r}] is {connection.vendor}, which cannot hold jobs; "
            f"supported are {', '.join(DIALECTS)}."
        ) from None


def recorder_of(connection: BaseDatabaseWrapper) -> Recorder:
    return RECORDERS[connection.vendor]

"""The databases that can hold jobs, and the dialect of each.

A process loads those of the databases that it has: the drivers and the SQL of the others would be a mebibyte of it.
"""

from __future__ import annotations

from functools import cache

from django.db.backends.base.base import BaseDatabaseWrapper

from ...exceptions import ConfigurationError
from .base import Dialect
from .messages.base import Messages

VENDORS = ("mysql", "postgresql", "sqlite")


def is_supported(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor in VENDORS


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    if connection.vendor not in VENDORS:
        raise ConfigurationError(
            f"DATABASES[{connection.alias!r}] is {connection.vendor}, which cannot hold jobs; "
            f"supported are {', '.join(VENDORS)}."
        )
    return _spoken_by(connection.vendor)[0]


def messages_of(connection: BaseDatabaseWrapper) -> Messages:
    return _spoken_by(connection.vendor)[1]


@cache
def _spoken_by(vendor: str) -> tuple[Dialect, Messages]:
    dialect: Dialect
    match vendor:
        case "mysql":
            from .messages.mysql import MySQLMessages
            from .mysql import MySQL

            dialect = MySQL()
            return dialect, MySQLMessages(dialect)
        case "postgresql":
            from .messages.postgresql import PostgreSQLMessages
            from .postgresql import PostgreSQL

            dialect = PostgreSQL()
            return dialect, PostgreSQLMessages(dialect)
        case _:
            from .messages.sqlite import SQLiteMessages
            from .sqlite import SQLite

            dialect = SQLite()
            return dialect, SQLiteMessages(dialect)

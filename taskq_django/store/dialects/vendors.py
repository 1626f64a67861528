"""The databases that can hold jobs, and the dialect of each."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ...exceptions import ConfigurationError
from .base import Dialect
from .messages.base import Messages
from .messages.mysql import MySQLMessages
from .messages.postgresql import PostgreSQLMessages
from .messages.sqlite import SQLiteMessages
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

DIALECTS: dict[str, Dialect] = {"mysql": MySQL(), "postgresql": PostgreSQL(), "sqlite": SQLite()}
MESSAGES: dict[str, Messages] = {
    "mysql": MySQLMessages(DIALECTS["mysql"]),
    "postgresql": PostgreSQLMessages(DIALECTS["postgresql"]),
    "sqlite": SQLiteMessages(DIALECTS["sqlite"]),
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


def messages_of(connection: BaseDatabaseWrapper) -> Messages:
    return MESSAGES[connection.vendor]

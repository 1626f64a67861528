"""The clock that decides is the database's; a process's own clock measures durations only.

Models use it, so that this imports nothing of ours.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Expression, Field


class Now(Expression):
    """The moment of the statement, in UTC whatever the zone of the server or the session; plus ``offset`` seconds.

    Django's ``Now`` is the session's local time on MariaDB and MySQL.
    """

    def __init__(self, offset: float, output_field: Field[Any, Any]) -> None:
        super().__init__(output_field=output_field)
        self.offset = offset

    def as_postgresql(self, *args: Any, **kwargs: Any) -> tuple[str, list[Any]]:
        return "(statement_timestamp() + %s * interval '1 second')", [self.offset]

    def as_mysql(self, *args: Any, **kwargs: Any) -> tuple[str, list[Any]]:
        return "(UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND)", [int(self.offset * 1e6)]

    def as_sqlite(self, *args: Any, **kwargs: Any) -> tuple[str, list[Any]]:
        # All its processes are on one host, so the clock of this process is the database's clock.
        moment = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=self.offset)
        return "%s", [str(moment)]


def database_now(database: str) -> datetime:
    """What that clock shows; aware, in UTC. One query, but for SQLite, whose clock is this process's."""
    connection = connections[database]
    if connection.vendor == "sqlite":
        return datetime.now(UTC)
    utc = "UTC_TIMESTAMP(6)" if connection.vendor == "mysql" else "statement_timestamp() AT TIME ZONE 'UTC'"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {utc}")
        moment: datetime = cursor.fetchone()[0]
    return moment.replace(tzinfo=UTC)

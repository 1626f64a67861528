"""Moments, for a project of any USE_TZ, and the clock that decides: the database's.

A process's own clock measures durations only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Expression, Field
from django.utils import timezone

if TYPE_CHECKING:
    _DateTimeField = models.DateTimeField[Any, Any]
else:
    _DateTimeField = models.DateTimeField


class MomentField(_DateTimeField):
    """A DateTimeField that is stored in UTC, also where the database knows no time zones (SQLite, MariaDB, MySQL).

    Django would store local time there under USE_TZ = False, or where DATABASES has a TIME_ZONE. An hour of it comes
    twice a year, and what waits would become due twice, or late. Python sees what it sees of any DateTimeField.
    """

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        if isinstance(value, datetime) and _is_ours_to_convert(connection):
            aware = value if timezone.is_aware(value) else timezone.make_aware(value)
            return connection.ops.adapt_datetimefield_value(aware.astimezone(UTC).replace(tzinfo=None))
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if isinstance(value, datetime) and _is_ours_to_convert(connection):
            moment = value.replace(tzinfo=UTC)
            return moment if settings.USE_TZ else timezone.make_naive(moment)
        return value


def _is_ours_to_convert(connection: BaseDatabaseWrapper) -> bool:
    if connection.features.supports_timezones:
        return False
    return not settings.USE_TZ or connection.timezone_name != "UTC"


class DatabaseNow(Expression):
    """The moment of the statement, in UTC whatever the zone of the server or the session; plus ``offset`` seconds.

    Django's ``Now`` is the session's local time on MariaDB and MySQL.
    """

    def __init__(self, offset: float = 0.0, output_field: Field[Any, Any] | None = None) -> None:
        super().__init__(output_field=output_field or DateTimeField())
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
    sql = (
        "SELECT UTC_TIMESTAMP(6)" if connection.vendor == "mysql" else "SELECT statement_timestamp() AT TIME ZONE 'UTC'"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        moment: datetime = cursor.fetchone()[0]
    return moment.replace(tzinfo=UTC)

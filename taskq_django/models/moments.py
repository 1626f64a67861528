"""Moments, for a project of any USE_TZ, and the clock that decides: the database's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, overload

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from ..store.dialects.clock import Now, database_now

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


class DatabaseNow(Now):
    """The moment of the statement, plus ``offset`` seconds."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__(offset, MomentField())


def aware(moment: Any) -> Any:
    """As the time maths wants it; under USE_TZ = False the ORM gives naive moments."""
    return timezone.make_aware(moment) if moment is not None and timezone.is_naive(moment) else moment


@overload
def as_orm_has(moment: datetime) -> datetime: ...
@overload
def as_orm_has(moment: datetime | None) -> datetime | None: ...
def as_orm_has(moment: datetime | None) -> datetime | None:
    """An aware moment as the ORM takes it and gives it: naive under USE_TZ = False."""
    return moment if moment is None or settings.USE_TZ else timezone.make_naive(moment)


__all__ = ["DatabaseNow", "MomentField", "as_orm_has", "aware", "database_now"]

"""Moments, for a project of any USE_TZ."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

if TYPE_CHECKING:
    _DateTimeField = models.DateTimeField[Any, Any]
else:
    _DateTimeField = models.DateTimeField


class MomentField(_DateTimeField):
    """A DateTimeField that is stored in UTC even where USE_TZ is False and the database knows no time zones.

    Django would store local time there (SQLite, MariaDB, MySQL), an hour of which comes twice a year: what waits
    would become due twice, or an hour late. Python sees what it sees of any DateTimeField: local time, naive.
    """

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        if isinstance(value, datetime) and _is_ours_to_convert(connection):
            aware = value if timezone.is_aware(value) else timezone.make_aware(value)
            value = aware.astimezone(UTC).replace(tzinfo=None)
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if isinstance(value, datetime) and _is_ours_to_convert(connection):
            return timezone.make_naive(value.replace(tzinfo=UTC))
        return value


def _is_ours_to_convert(connection: BaseDatabaseWrapper) -> bool:
    return not settings.USE_TZ and not connection.features.supports_timezones

"""JSON, in every database that we support."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage
from django.db import models


class ArgumentsField(models.JSONField):
    """A JSONField whose system check asks no database: it would connect to each, and one of them may be away.

    Every version that our own check lets pass has JSON.
    """

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """What json refuses, though a database takes it, stays a text: no list and no dict, so nobody's arguments.

        One such row (a number of 5,000 digits, say) must not take the others of its list with it, nor its beat.
        """
        try:
            return super().from_db_value(value, expression, connection)
        except (ValueError, RecursionError):
            return str(value)

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        return super().check(**{**kwargs, "databases": []})

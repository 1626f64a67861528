"""Which database the app's tables are in, where a backend names one."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

from django.core.signals import setting_changed
from django.db.models import Model

from .backend import our_backends
from .compat import task_backends
from .conf.broker_url import parse_broker
from .exceptions import ConfigurationError

APP = "taskq_django"


class DatabaseRouter:
    """Sends the models of this app to the database of ``OPTIONS["broker"]``, when that is "database://ALIAS".

    ``DATABASE_ROUTERS = ["taskq_django.DatabaseRouter"]``, before routers that answer for every app. With several
    such backends the tables are made in each of their databases, and queries (so the admin too) go to that of
    the first of them.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return named_databases()[0] or None if model._meta.app_label == APP else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        named = named_databases()
        if app_label != APP or named == ("",) or (db not in named and "" in named):
            return None
        return db in named


@cache
def named_databases() -> tuple[str, ...]:
    """The aliases in DATABASES that our backends name; "" stands for: whatever the other routers say."""
    found: dict[str, None] = {}
    for alias in our_backends():
        # What is wrong in the options is for the system checks to say.
        with suppress(ConfigurationError):
            found[parse_broker(task_backends[alias].taskq_options.broker).database] = None  # type: ignore[attr-defined]
    return tuple(found) or ("",)


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "TASKS":
        named_databases.cache_clear()


setting_changed.connect(_forget)

"""The id of a store, by which an engine tells it from another one that uses the same name."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.apps import AppConfig
from django.apps.registry import Apps, apps
from django.db import router

from ..exceptions import BrokerError
from ..models import StoreIdentity
from .connections import OUTAGE, ask, lacks_table

_ids: dict[str, str] = {}  # by database; any thread


def store_id(database: str) -> str:
    """Its UUID, as text. Read once; then it costs nothing.

    Raises BrokerError where there is none, and what the database raises.
    """
    if found := _ids.get(database):
        return found
    why = "missing"
    try:
        stored = ask(database, StoreIdentity.objects.using(database).values_list("uuid", flat=True).first)
    except OUTAGE as error:
        if not lacks_table(error):
            raise
        stored, why = None, f"missing, and so is its table: {error}"
    if stored is None:
        raise BrokerError(
            f"The identity of the store in DATABASES[{database!r}] is {why}. "
            f"Run `manage.py migrate taskq_django --database {database}`, which makes it."
        )
    return _ids.setdefault(database, str(stored))


def renew(database: str) -> str:
    """Give it another id, because a copy of a store is another one. Who has read the old one goes on with it."""
    StoreIdentity.objects.using(database).update_or_create(id=1, defaults={"uuid": uuid4()})
    _ids.pop(database, None)
    return store_id(database)


def identify(app_config: AppConfig, using: str, apps: Apps = apps, **kwargs: Any) -> None:
    """After `migrate` and `flush`: give the store an id where it has none. The migration has done so, but for a flush
    and for projects that make their tables without migrations.
    """
    try:
        model = apps.get_model(app_config.label, "StoreIdentity")
    except LookupError:
        return  # migrated to where there was none yet
    if router.allow_migrate_model(using, model):
        _, made = model._default_manager.using(using).get_or_create(id=1, defaults={"uuid": uuid4()})
        if made:
            _ids.pop(using, None)

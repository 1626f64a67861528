"""One broker per alias in TASKS, shared by all threads of this process."""

from __future__ import annotations

from contextlib import suppress

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ..conf import BackendOptions
from ..conf.broker_url import parse_broker
from ..store.identity import store_id
from .base import Broker
from .database.broker import DatabaseBroker
from .messages.broker import MessageBroker
from .messages.transport import Transport

# Needs an extra, as transports do.
RUNG = "taskq_django.brokers.kombu.database_bell.RungDatabaseBroker"

_brokers: dict[tuple[str, str], Broker] = {}


def broker_for(alias: str, options: BackendOptions) -> Broker:
    """The broker behind ``TASKS[alias]`` with these OPTIONS, which the settings have let through."""
    broker = _brokers.get((alias, options.broker))
    if broker is None:
        # setdefault: of two threads that race here, both get the same one.
        broker = _brokers.setdefault((alias, options.broker), _made(alias, options))
    return broker


def _made(alias: str, options: BackendOptions) -> Broker:
    address = parse_broker(options.broker)
    if not address.transport and options.bell:
        rung: Broker = import_string(RUNG)(alias, options, address.database)
        return rung
    rows = DatabaseBroker(alias, address.database)
    if not address.transport:
        return rows
    kind: type[Transport] = import_string(address.transport)
    transport = kind.opened(alias, options, lambda: store_id(rows.database))
    return MessageBroker(alias, rows, transport, has_outbox=options.outbox)


def close_all() -> None:
    """Close what the calling thread has open to any broker: at its end, and before its process forks."""
    for broker in list(_brokers.values()):
        with suppress(Exception):  # one that cannot be closed keeps no other open
            broker.close()


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in {"TASKS", "DATABASES", "DATABASE_ROUTERS"}:
        _brokers.clear()


setting_changed.connect(_forget)

__all__ = ["Broker", "broker_for", "close_all"]

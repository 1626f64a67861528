"""One broker per alias in TASKS, shared by all threads of this process."""

from __future__ import annotations

from contextlib import suppress

from django.core.signals import setting_changed

from ..conf.broker_url import parse_broker
from .base import Broker
from .database.broker import DatabaseBroker

_brokers: dict[tuple[str, str], Broker] = {}


def broker_for(alias: str, url: str) -> Broker:
    """The broker behind ``TASKS[alias]`` with ``OPTIONS["broker"]`` = ``url``, which the settings have let through."""
    broker = _brokers.get((alias, url))
    if broker is None:
        # setdefault: of two threads that race here, both get the same one.
        broker = _brokers.setdefault((alias, url), DatabaseBroker(alias, parse_broker(url).database))
    return broker


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

"""One broker per alias in TASKS, shared by all threads of this process."""

from __future__ import annotations

from django.core.signals import setting_changed

from ..broker_url import parse_broker
from ..exceptions import ConfigurationError
from .base import Broker
from .database.broker import DatabaseBroker
from .database.connections import ask, in_transaction, let_go, own_transaction, replace_lost, welcome
from .database.limits import Limits, is_limited, limit_transactions
from .database.lines import cut_lines, limit_lines, own_lines, release_lines

_brokers: dict[tuple[str, str], Broker] = {}


def broker_for(alias: str, url: str) -> Broker:
    """The broker behind ``TASKS[alias]`` with ``OPTIONS["broker"]`` = ``url``."""
    broker = _brokers.get((alias, url))
    if broker is None:
        address = parse_broker(url)
        if address.kind != "database":
            raise ConfigurationError(
                f"TASKS[{alias!r}]: OPTIONS['broker'] {address.kind}:// is not supported yet; use database://."
            )
        # setdefault: of two threads that race here, both get the same one.
        broker = _brokers.setdefault((alias, url), DatabaseBroker(alias, address.database))
    return broker


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in {"TASKS", "DATABASES", "DATABASE_ROUTERS"}:
        _brokers.clear()


setting_changed.connect(_forget)

__all__ = [
    "Broker",
    "Limits",
    "ask",
    "broker_for",
    "cut_lines",
    "in_transaction",
    "is_limited",
    "let_go",
    "limit_lines",
    "limit_transactions",
    "own_lines",
    "own_transaction",
    "release_lines",
    "replace_lost",
    "welcome",
]

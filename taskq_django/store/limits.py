"""Limits of a service's own transactions: how long it may wait for a lock, and stop in the middle.

They hold in a transaction and never beyond it. Behind a pooler a session is everybody's: what stayed on it would limit
whoever gets it next.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class Limits:
    idle: float  # seconds that the server waits for the next statement before it ends the session
    wait: float  # seconds to wait for a lock


class _Own(threading.local):
    def __init__(self) -> None:
        self.limits: dict[str, Limits] = {}


_own = _Own()


def limit_transactions(databases: Collection[str], limits: Limits | None) -> None:
    """Limit the calling thread's own transactions from now on, there and nowhere else; None: no more."""
    _own.limits = {} if limits is None else dict.fromkeys(databases, limits)


def is_limited() -> bool:
    """Is the calling thread a service's own?"""
    return bool(_own.limits)


def limits_of(connection: BaseDatabaseWrapper) -> Limits | None:
    """For a transaction that is about to begin; None for one of a caller's, which is not ours to limit."""
    return None if connection.in_atomic_block else _own.limits.get(connection.alias)

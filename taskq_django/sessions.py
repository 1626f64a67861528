"""Limits of a service's own database sessions, so that one stopped in the middle holds nobody up for long."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

from .brokers import limit_session

LONGEST_WAIT = 5.0  # seconds for a lock: what cannot be had now is tried again


def limit_own_sessions(databases: Collection[str], lease: float) -> None:
    """Limit what the calling thread opens from now on; tasks have connections of their own, in other threads."""
    own = threading.get_ident()

    def limit(connection: Any, **kwargs: Any) -> None:
        if threading.get_ident() == own and connection.alias in databases:
            limit_session(connection, idle=lease, wait=min(LONGEST_WAIT, lease / 2))

    unlimit_sessions()  # in a fork: what its parent had asked for
    connection_created.connect(limit, weak=False, dispatch_uid=("taskq_django.sessions", own))
    for database in databases:
        if not connections[database].in_atomic_block:  # a test's
            connections[database].close()


def unlimit_sessions() -> None:
    """The opposite, for who goes on living after having been one."""
    connection_created.disconnect(dispatch_uid=("taskq_django.sessions", threading.get_ident()))

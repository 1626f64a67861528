"""Limits of a service's own database sessions, so that one stopped in the middle holds nobody up for long."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from django.db.backends.signals import connection_created

from .brokers import limit_lines, limit_session, release_lines

LONGEST_WAIT = 5.0  # seconds for a lock: what cannot be had now is tried again


def limit_own_sessions(databases: Collection[str], lease: float) -> None:
    """Limit what the calling thread opens from now on; tasks have connections of their own, in other threads."""
    own = threading.get_ident()

    def limit(connection: Any, **kwargs: Any) -> None:
        if threading.get_ident() == own and connection.alias in databases:
            limit_session(connection, idle=lease, wait=min(LONGEST_WAIT, lease / 2))

    unlimit_sessions()  # in a fork: what its parent had asked for
    connection_created.connect(limit, weak=False, dispatch_uid=("taskq_django.sessions", own))
    limit_lines(databases, max(lease / 3, min(LONGEST_WAIT, lease / 2) + 1))  # longer than a lock is waited for


def unlimit_sessions() -> None:
    """The opposite, for who goes on living after having been one."""
    connection_created.disconnect(dispatch_uid=("taskq_django.sessions", threading.get_ident()))
    release_lines()

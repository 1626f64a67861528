"""Keeps a pool thread's database connections fit between two jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import connections, reset_queries

from ..brokers import let_go

logger = logging.getLogger(__name__)

# A connection unused for so long may have been cut by a firewall or a restart: it is tried before a job gets it.
# One round trip after a pause; under load nothing.
IDLE = 1.0  # seconds


def _never_raises(keep: Callable[..., None]) -> Callable[..., None]:
    """Upkeep that fails is logged: the job's outcome must reach the loop all the same."""

    @wraps(keep)
    def guarded(*args: Any) -> None:
        try:
            keep(*args)
        except Exception:
            logger.exception("A database connection could not be put in order")

    return guarded


@_never_raises
def before_job(last_used: float) -> None:
    """Replace connections that died while this thread had nothing to do."""
    if monotonic() - last_used > IDLE:
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None and not connection.is_usable():
                connection.close()


@_never_raises
def after_job(task_path: str, job_id: str) -> None:
    """Undo what a task left open. Connections stay: opening one costs more than a job."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block or not connection.get_autocommit() or connection.errors_occurred:
            _mend(connection, task_path, job_id)
    if settings.DEBUG:
        reset_queries()


def close() -> None:
    """The thread ends."""
    connections.close_all()


@_never_raises
def close_hard() -> None:
    """After an interrupt: it may have come in the middle of a statement, so nothing can be known of a connection."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            let_go(connection)


def _mend(connection: Any, task_path: str, job_id: str) -> None:
    if connection.in_atomic_block or not connection.get_autocommit():
        logger.warning(
            "Task left a transaction open; rolled back task=%s id=%s database=%s", task_path, job_id, connection.alias
        )
        let_go(connection)
    else:
        connection.close_if_unusable_or_obsolete()

"""Keeps the database connections of the threads that run tasks fit between two runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import wraps
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import connections, reset_queries
from django.db.backends.signals import connection_created

from .. import brokers
from ..jobs import Claim
from ..store.connections import let_go, welcome
from ..store.limits import cut_after, is_limited

logger = logging.getLogger(__name__)

# A connection that was unused for so long is tried before a job gets it, because a firewall or a restart may have cut
# it. That costs a round trip after a pause, and nothing under load.
IDLE = 1.0  # seconds
# And one that does not answer in this time is dead: the line may have lost one direction, and told nobody.
SILENCE = 5.0  # seconds

# A call may keep other jobs waiting for so long after its own job has ended.
PATIENCE = 5.0  # seconds


class _Own(threading.local):
    """The calling thread's connections that were ever made. To ask Django for them costs half of a short job."""

    def __init__(self) -> None:
        self.connections: list[Any] = []


_own = _Own()


def _note(connection: Any, **kwargs: Any) -> None:
    if connection not in _own.connections:
        _own.connections.append(connection)


connection_created.connect(_note, dispatch_uid="taskq_django.worker.connections.own")

# For which job a coroutine works, and what it calls in other threads.
_job: ContextVar[tuple[str, str]] = ContextVar("taskq_django_job", default=("", ""))


GUESTS = "taskq_django.worker.connections"


def welcome_guests() -> None:
    """From now on, what is connected in this process for tasks leaves room for others: all but the service's own."""
    connection_created.connect(_welcome, dispatch_uid=GUESTS)


def no_more_guests() -> None:
    connection_created.disconnect(dispatch_uid=GUESTS)


def _welcome(connection: Any, **kwargs: Any) -> None:
    if not is_limited():
        welcome(connection)


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
        for connection in _own.connections:
            if connection.connection is not None:
                with cut_after(SILENCE, connection):
                    is_usable = connection.is_usable()
                if not is_usable:
                    connection.close()


@_never_raises
def after_job(task_path: str, job_id: str) -> None:
    """Undo what a task left open. Connections stay, because opening one costs more than a job; but not those of a pool,
    because others wait for them.
    """
    for connection in _own.connections:
        if connection.connection is None:
            continue
        if connection.in_atomic_block or not connection.get_autocommit() or connection.errors_occurred:
            _mend(connection, task_path, job_id)
        if connection.settings_dict["OPTIONS"].get("pool"):
            connection.close()
    if settings.DEBUG:
        reset_queries()


def close() -> None:
    """The thread ends, or its process forks: a connection that two processes share breaks for both."""
    brokers.close_all()
    connections.close_all()


@_never_raises
def close_hard() -> None:
    """After an interrupt: it may have come in the middle of a statement, so nothing can be known of a connection."""
    for connection in _own.connections:
        if connection.connection is not None:
            let_go(connection)


def works_for(claim: Claim) -> None:
    """What this context calls in an UpkeepExecutor is called for that job."""
    _job.set((claim.job.task_path, claim.job.id))


class UpkeepExecutor(ThreadPoolExecutor):
    """Runs what coroutines call in threads: the ORM, ``sync_to_async``, ``asyncio.to_thread``.

    Coroutines share these threads and so their connections. Each call is looked after like a run, because at its
    end no other one is in the middle of anything: a transaction that it left open would take the rows of all others.
    """

    _threads_own = threading.local()
    _call: tuple[str, float] | None = None  # of an executor with one thread: for which job it works, and since when

    def keeps_waiting(self, held: Container[str]) -> bool:
        """Does a call of a job that has ended, by its time limit say, keep others waiting for the one thread?"""
        call = self._call
        late = call is not None and call[0] not in held and monotonic() - call[1] > PATIENCE
        return late and self._work_queue.qsize() > 0

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(self._with_upkeep, _job.get(), call, args, kwargs)

    def close(self) -> None:
        """What runs may end; nobody waits for it."""
        super().submit(close)
        self.shutdown(wait=False)

    def _with_upkeep(self, job: tuple[str, str], call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._call = (job[1], monotonic())
        before_job(getattr(self._threads_own, "last_used", float("inf")))
        try:
            return call(*args, **kwargs)
        finally:
            after_job(*job)
            self._threads_own.last_used = monotonic()
            self._call = None


def _mend(connection: Any, task_path: str, job_id: str) -> None:
    if connection.in_atomic_block or not connection.get_autocommit():
        logger.warning(
            "Task left a transaction open; rolled back task=%s id=%s database=%s", task_path, job_id, connection.alias
        )
        let_go(connection)
    else:
        with cut_after(SILENCE, connection):
            connection.close_if_unusable_or_obsolete()

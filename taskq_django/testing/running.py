"""Runs jobs in the calling thread, by the worker's own loop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.transaction import TransactionManagementError

from ..backend import brokers_of, databases_of, our_backends
from ..brokers.messages.broker import MessageBroker
from ..models import WorkerProcess
from ..models.moments import DatabaseNow
from ..task_options import refuse_text
from ..worker.assembly import make_loop, new_board
from ..worker.blackboard import Wanted
from ..worker.options import WorkerOptions

NAME = "run_all"


def run_all(*, limit: int | None = None, queues: tuple[str, ...] = (), backends: tuple[str, ...] = ()) -> int:
    """Run every job that is ready, and those they enqueue, in the calling thread; returns how many have ended.

    The worker's own loop on the caller's connection: it sees what a TestCase has not committed, needs no other
    process, and leaves what a job did where the test finds it. Jobs whose time has not come are left alone.
    A job that raises ends as FAILED, as it would in a worker. ``limit``: stop after so many.
    Raises TransactionManagementError in a transaction that an error has broken.
    """
    refuse_text(queues, "queues", f"write queues=({queues!r},)")
    refuse_text(backends, "backends", f"write backends=({backends!r},)")
    return _run(
        WorkerOptions(name=NAME, backends=backends or our_backends(), queues=queues, burst=True, max_tasks=limit)
    )


def run_one(job_id: str, alias: str) -> int:
    """Run this job, whether its time has come or not; 0: it could not be claimed, as in a paused queue."""
    aliases = our_backends()
    only = Wanted(backend=aliases.index(alias), job_id=job_id, key=0, until=math.inf)
    return _run(WorkerOptions(name=NAME, backends=aliases, burst=True), only)


def _run(options: WorkerOptions, only: Wanted | None = None) -> int:
    refuse_broken(databases_of(brokers_of(options.backends).values()))
    board = new_board(options, only=only)
    board.needs_no_lease()
    loop = make_loop(options, NAME, board, inline=True)
    with _registered(options.backends):
        loop.run()
    return loop.ended


def refuse_broken(databases: Iterable[str]) -> None:
    """Raises TransactionManagementError where a transaction of the caller's cannot be used any more."""
    for database in databases:
        connection = connections[database]
        if connection.in_atomic_block and (connection.needs_rollback or not connection.is_usable()):
            raise TransactionManagementError(
                f"The transaction of this test on DATABASES[{database!r}] was broken by an error before, so nothing "
                "can be read or run in it. Put what raises into a block of its own: `with transaction.atomic():`."
            )


@contextmanager
def _registered(aliases: tuple[str, ...]) -> Iterator[None]:
    """An engine gives its messages to nobody who has no row in the store."""
    databases = {broker.database for broker in brokers_of(aliases).values() if isinstance(broker, MessageBroker)}
    now = DatabaseNow()
    row = {"name": NAME, "host": "", "pid": 0, "started_at": now, "seen_at": now}
    for database in databases:
        WorkerProcess.objects.using(database).update_or_create(id=NAME, defaults=row)
    try:
        yield
    finally:
        for database in databases:
            WorkerProcess.objects.using(database).filter(id=NAME).delete()

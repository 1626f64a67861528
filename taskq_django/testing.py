"""For tests of projects that use taskq_django."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .backend import brokers_of, our_backends
from .brokers.messages.broker import MessageBroker
from .models import WorkerProcess
from .models.moments import DatabaseNow
from .task_options import refuse_text
from .worker.assembly import make_loop, new_board
from .worker.options import WorkerOptions

NAME = "run_all"


def run_all(*, limit: int | None = None, queues: tuple[str, ...] = (), backends: tuple[str, ...] = ()) -> int:
    """Run every job that is ready, and those they enqueue, in the calling thread; returns how many have ended.

    The worker's own loop on the caller's connection: it sees what a TestCase has not committed, needs no other
    process, and leaves what a job did where the test finds it. Jobs whose time has not come are left alone.
    A job that raises ends as FAILED, as it would in a worker. ``limit``: stop after so many.
    """
    refuse_text(queues, "queues", f"write queues=({queues!r},)")
    refuse_text(backends, "backends", f"write backends=({backends!r},)")
    options = WorkerOptions(
        name=NAME,
        backends=backends or our_backends(),
        queues=queues,
        burst=True,
        max_tasks=limit,
    )
    board = new_board(options)
    board.needs_no_lease()
    loop = make_loop(options, NAME, board, inline=True)
    with _registered(options.backends):
        loop.run()
    return loop.ended


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

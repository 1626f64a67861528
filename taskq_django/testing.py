"""For tests of projects that use taskq_django."""

from __future__ import annotations

from .backend import our_backends
from .task_options import refuse_text
from .worker.assembly import make_loop, new_board
from .worker.options import WorkerOptions


def run_all(*, limit: int | None = None, queues: tuple[str, ...] = (), backends: tuple[str, ...] = ()) -> int:
    """Run every job that is ready, and those they enqueue, in the calling thread; returns how many have ended.

    The worker's own loop on the caller's connection: it sees what a TestCase has not committed, needs no other
    process, and leaves what a job did where the test finds it. Jobs whose time has not come are left alone.
    A job that raises ends as FAILED, as it would in a worker. ``limit``: stop after so many.
    """
    refuse_text(queues, "queues", f"write queues=({queues!r},)")
    refuse_text(backends, "backends", f"write backends=({backends!r},)")
    options = WorkerOptions(
        name="run_all",
        backends=backends or our_backends(),
        queues=queues,
        burst=True,
        max_tasks=limit,
    )
    board = new_board(options)
    board.needs_no_lease()
    loop = make_loop(options, "run_all", board, inline=True)
    loop.run()
    return loop.ended

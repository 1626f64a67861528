"""One worker process: builds the parts, runs the loop, and says by its exit code how it ended."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from django.db import connections

from .. import compat, signals
from ..backend import our_backends
from ..brokers import Broker
from ..exceptions import BrokerUnavailable, ConfigurationError
from ..jobs import Claim
from ..sessions import limit_own_sessions, unlimit_sessions
from . import listening, stacks
from .blackboard import Blackboard
from .executor import Executor
from .fetcher import QueueChoice
from .intake import most_held
from .lanes import Surroundings
from .last_resort import LastResort
from .lease import Lease, new_worker_id
from .loop import GRACE_EXPIRED, Loop
from .maintenance import Maintenance
from .options import WorkerOptions
from .pool import InlinePool, LanePool, Pool

logger = logging.getLogger("taskq_django.worker")


def brokers_of(aliases: tuple[str, ...]) -> dict[str, Broker]:
    """The brokers of these aliases. Raises ConfigurationError for one that is not ours."""
    brokers: dict[str, Broker] = {}
    known = our_backends()
    for alias in aliases:
        if alias not in known:
            raise ConfigurationError(
                f"TASKS has no backend {alias!r} of taskq_django; it has {', '.join(map(repr, known)) or 'none'}."
            )
        brokers[alias] = compat.task_backends[alias].broker  # type: ignore[attr-defined]
    if not brokers:
        raise ConfigurationError(
            "No alias in TASKS has a backend of taskq_django, so this worker has nothing to do: "
            'set TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend"}}.'
        )
    return brokers


def new_board(options: WorkerOptions, context: Any = multiprocessing) -> Blackboard:
    """For one process."""
    return Blackboard(context, most_held(options))


def databases_of(brokers: Iterable[Broker]) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(broker.database for broker in brokers))


def make_lease(options: WorkerOptions, brokers: Iterable[Broker]) -> Lease:
    return Lease(
        options.name,
        databases_of(brokers),
        every=options.heartbeat,
        lasts=options.lease,
        described={
            "backends": ",".join(options.backends)[:255],
            "queues": ",".join(sorted(options.queues))[:1000],
            "excluded": ",".join(sorted(options.exclude_queues))[:1000],
        },
    )


def make_loop(options: WorkerOptions, worker_id: str, board: Blackboard, *, inline: bool = False) -> Loop:
    """The loop with all its parts; ``inline`` runs the jobs in the calling thread."""
    if options.processes == 0:  # no other process takes the place of this one
        options = replace(options, max_tasks_per_child=None, max_memory_per_child=None)
    backends = {alias: compat.task_backends[alias] for alias in options.backends}
    limits = {alias: backend.taskq_options.max_payload for alias, backend in backends.items()}  # type: ignore[attr-defined]
    brokers = brokers_of(options.backends)

    def note_begun(claim: Claim) -> bool:
        try:
            return brokers[claim.job.backend].note_begun(claim)
        except BrokerUnavailable as error:
            logger.warning("%s; job %s goes back, because nobody could know that it has begun", error, claim.job.id)
            return False

    executor = Executor(worker_id, limits, note_begun)

    def make_pool(given: Surroundings) -> Pool:
        return InlinePool(given) if inline else LanePool(given, options.threads, options.coroutines)

    return Loop(
        brokers,
        QueueChoice(options.queues, options.exclude_queues),
        worker_id,
        options,
        executor,
        board,
        make_pool,
    )


def run_child(
    options: WorkerOptions, worker_id: str, board: Blackboard, lifeline: Connection, other_end: Connection | None
) -> None:
    """The life of a process that a supervisor has started; never returns.

    ``lifeline`` becomes readable when the supervisor, who holds its other end, is gone.
    """
    if other_end is not None:
        other_end.close()  # a copy that the fork has made: it would keep the line alive
    listening.note()  # before any thread is made: a thread begins with what is blocked, and so does what it starts
    limit_own_sessions(databases_of(brokers_of(options.backends).values()), options.lease)
    loop = make_loop(options, worker_id, board)
    listening.listen(
        {
            signal.SIGTERM: lambda *_: loop.stop(),
            signal.SIGQUIT: lambda *_: loop.stop_now(),
            signal.SIGUSR1: lambda *_: _write_stacks(loop),
            # Ctrl-C reaches the whole terminal group, but to stop is the supervisor's decision.
            signal.SIGINT: listening.disregard,
        }
    )
    loop.lifelines = (lifeline.fileno(),)
    board.serves()
    code = run_loop(loop)
    board.ended()
    logging.shutdown()
    # Past the interpreter's own end, which would wait for threads whose tasks did not come back.
    os._exit(code)


def run_here(options: WorkerOptions) -> int:
    """Be worker and process in one: the calling thread becomes the loop (``-p 0``).

    A loop that must be replaced (its lease was lost, or a run does not come back) is followed by another one.
    """
    brokers = brokers_of(options.backends).values()
    lease = make_lease(options, brokers)
    limit_own_sessions(databases_of(brokers), options.lease)
    lease.register()
    maintenance = Maintenance(brokers, lease, every=options.maintenance)
    while True:
        board, worker_id = new_board(options), new_worker_id(options.name)
        lease.register([worker_id])
        lease.covers(board)
        loop = make_loop(options, worker_id, board)

        def each_turn(loop: Loop = loop) -> None:
            if not lease.renew():
                logger.warning("Others have counted this worker as lost; it goes on under a new id")
                loop.leave()
            maintenance.turn()

        loop.each_turn = each_turn
        restore = _listen_to_signals(loop)
        try:
            code = run_loop(loop)
        finally:
            restore()
            lease.forget([worker_id, lease.worker_id])
        if loop.is_stopping or not board.is_leaving:
            unlimit_sessions()
            return code
        lease.start_anew()


def run_loop(loop: Loop) -> int:
    signals.worker_started.announce(None, worker_id=loop.worker_id)
    try:
        return loop.run()
    finally:
        signals.worker_stopping.announce(None, worker_id=loop.worker_id)


def _listen_to_signals(loop: Loop) -> Callable[[], None]:
    """TERM and INT stop the loop, a second one at once; returns what puts the old behaviour back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None  # only the main thread may; whoever runs a worker in another stops it by ``stop``

    def asked(number: int, frame: Any) -> None:
        loop.stop_now() if loop.is_stopping or last_resort.is_urgent else loop.stop()

    last_resort = LastResort(GRACE_EXPIRED)
    acts: dict[int, listening.Act] = {signal.SIGTERM: asked, signal.SIGINT: asked}
    if hasattr(signal, "SIGUSR1"):
        acts[signal.SIGUSR1] = lambda *_: _write_stacks(loop)
    listening.listen(acts)

    def restore() -> None:
        last_resort.close()
        listening.stop_listening()

    return restore


def _write_stacks(loop: Loop) -> None:
    stacks.write(loop.pool.running_by_thread(), loop.pool.coroutines())


def close_connections() -> None:
    """Before a fork: a connection that two processes share breaks for both."""
    connections.close_all()

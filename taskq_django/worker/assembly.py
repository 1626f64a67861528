"""Builds the parts of a worker and puts them together. The one place that knows all of them."""

from __future__ import annotations

import logging
import math
import multiprocessing
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from .. import __version__, compat
from ..backend import brokers_of, databases_of
from ..beat.service import Beat
from ..brokers import Broker
from ..conf import taskq_settings
from ..exceptions import BrokerError, clause
from ..jobs import Claim
from ..store.connections import limit_own_sessions, unlimit_sessions
from .blackboard import Blackboard, Wanted
from .crash_record import CrashRecord
from .executor import Executor
from .intake import most_held
from .lease import Lease
from .leases import Leases
from .loop import Loop
from .options import WorkerOptions
from .run_context import run_context_at
from .wards import brokers_of_a_ward, options_of_a_ward

logger = logging.getLogger("taskq_django.worker")

OF_A_LEASE = 6  # for an answer of an engine a service waits this part of it: some follow each other before a renewal


def limit_waits(brokers: Collection[Broker], lease: float, of_engines: float = math.inf) -> None:
    """Have the calling thread, a service's, wait for no answer so long that its lease is lost.

    ``of_engines``: nor longer than so many seconds for an engine's.
    """
    limit_own_sessions(databases_of(brokers), lease)
    for broker in brokers:
        broker.wait_at_most(min(lease / OF_A_LEASE, of_engines))


def unlimit_waits(brokers: Collection[Broker]) -> None:
    """The opposite, for a thread that goes on living after it was a service's."""
    unlimit_sessions()
    for broker in brokers:
        broker.wait_at_most(math.inf)


def new_board(
    options: WorkerOptions,
    context: Any = multiprocessing,
    record: CrashRecord | None = None,
    only: Wanted | None = None,
) -> Blackboard:
    """For one process; ``record`` where it has a supervisor, ``only`` for a ward."""
    leases = len(databases_of(brokers_of(options.backends).values()))
    return Blackboard(context, most_held(options), leases, record, only)


def make_leases(options: WorkerOptions, brokers: Iterable[Broker]) -> Leases:
    described: dict[str, Any] = {
        "backends": ",".join(options.backends)[:255],
        "queues": ",".join(sorted(options.queues))[:1000],
        "excluded": ",".join(sorted(options.exclude_queues))[:1000],
        "version": __version__[:40],
        "threads": options.threads * max(options.processes, 1),
        "coroutines": options.coroutines * max(options.processes, 1),
    }
    databases = databases_of(brokers)
    leases = [
        Lease(
            options.name,
            database,
            every=options.heartbeat,
            lasts=options.lease,
            described=described,
            is_alone=len(databases) == 1,
        )
        for database in databases
    ]
    return Leases(options.name, leases)


def make_loop(options: WorkerOptions, worker_id: str, board: Blackboard, *, inline: bool = False) -> Loop:
    """The loop with all its parts; ``inline`` runs the jobs in the calling thread."""
    if options.processes == 0:  # no other process takes the place of this one
        options = replace(options, max_tasks_per_child=None, max_memory_per_child=None)
    backends = {alias: compat.task_backends[alias] for alias in options.backends}
    limits = {alias: backend.taskq_options.max_payload for alias, backend in backends.items()}  # type: ignore[attr-defined]
    brokers = brokers_of(options.backends)
    if board.only is not None:
        options, brokers = options_of_a_ward(options), brokers_of_a_ward(brokers, board.only)

    def note_begun(claim: Claim) -> bool:
        try:
            return brokers[claim.job.backend].note_begun(claim)
        except BrokerError as error:
            logger.warning("%s; job %s goes back, for nobody could know that it has begun", clause(error), claim.job.id)
            return False

    around = run_context_at(taskq_settings().worker.run_context)  # the same for a worker of tests
    executor = Executor(worker_id, limits, note_begun, around)
    loop = Loop(brokers, worker_id, options, executor, board, inline=inline)
    executor.progress.sleeper = loop.sleeper
    return loop


def make_beat(options: WorkerOptions) -> Beat:
    return Beat(databases_of(brokers_of(options.backends).values()), taskq_settings().beat)

"""Builds the parts of a worker and puts them together. The one place that knows all of them."""

from __future__ import annotations

import logging
import math
import multiprocessing
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from .. import compat
from ..backend import brokers_of, databases_of
from ..beat.service import Beat
from ..brokers import Broker
from ..conf import taskq_settings
from ..exceptions import BrokerError, clause
from ..jobs import Claim
from ..store.connections import limit_own_sessions
from .blackboard import Blackboard
from .executor import Executor
from .intake import most_held
from .lease import Lease
from .leases import Leases
from .loop import Loop
from .options import WorkerOptions

logger = logging.getLogger("taskq_django.worker")

OF_A_LEASE = 6  # for an answer of an engine a service waits this part of it: some follow each other before a renewal


def limit_waits(brokers: Collection[Broker], lease: float, of_engines: float = math.inf) -> None:
    """Have the calling thread, a service's, wait for no answer so long that its lease is lost.

    ``of_engines``: nor longer than so many seconds for an engine's.
    """
    limit_own_sessions(databases_of(brokers), lease)
    for broker in brokers:
        broker.wait_at_most(min(lease / OF_A_LEASE, of_engines))


def new_board(options: WorkerOptions, context: Any = multiprocessing) -> Blackboard:
    """For one process."""
    return Blackboard(context, most_held(options), len(databases_of(brokers_of(options.backends).values())))


def make_leases(options: WorkerOptions, brokers: Iterable[Broker]) -> Leases:
    described = {
        "backends": ",".join(options.backends)[:255],
        "queues": ",".join(sorted(options.queues))[:1000],
        "excluded": ",".join(sorted(options.exclude_queues))[:1000],
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

    def note_begun(claim: Claim) -> bool:
        try:
            return brokers[claim.job.backend].note_begun(claim)
        except BrokerError as error:
            logger.warning("%s; job %s goes back, for nobody could know that it has begun", clause(error), claim.job.id)
            return False

    return Loop(brokers, worker_id, options, Executor(worker_id, limits, note_begun), board, inline=inline)


def make_beat(options: WorkerOptions) -> Beat:
    return Beat(databases_of(brokers_of(options.backends).values()), taskq_settings().beat)

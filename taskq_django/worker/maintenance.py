"""What every worker does for all: 1. count silent workers as lost · 2. rescue their jobs · 3. end pauses that are over
· 4. remove old results, and fold counts.

It also looks at an engine that was away when the worker started, once it answers. Safe in all of them at once.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from time import monotonic

from django.db import connections

from .. import control
from ..brokers import Broker
from ..compat import task_backends
from ..conf.declaration import Problem
from ..exceptions import BrokerError, EngineUnavailable, clause, counted, one_line
from ..store import pruning
from ..store.connections import OUTAGE, let_go
from ..store.counts import fold_counts
from .lease import Lease
from .leases import Leases
from .rescue import Death, Tell, settle_dead

logger = logging.getLogger("taskq_django.worker")

# Old results are looked for in every so many looks.
PRUNED_EVERY = 12
BETWEEN_BATCHES = 0.1  # seconds
LONGEST_AWAY = 1.0  # seconds between two looks whether the store is there again

GONE = Death(cause="its worker gave no sign of life", begun=None)


class Maintenance:
    """Supervisor's loop only (with ``-p 0``: the loop)."""

    def __init__(
        self, brokers: Iterable[Broker], leases: Leases, *, every: float, tell: Tell = lambda outcomes: None
    ) -> None:
        """``tell``: is given what became of the jobs of lost hosts."""
        self._brokers = list(brokers)
        self._tell = tell
        self._leases = leases
        self._every = every
        self._away = {broker.alias for broker in self._brokers if not broker.sees_all}  # whose engine does not answer
        self._prune_at = monotonic() + every * PRUNED_EVERY * random.random()  # noqa: S311 - as below
        self._next_at = monotonic() + every * random.random()  # noqa: S311 - so that workers take turns

    @property
    def is_whole(self) -> bool:
        """Is each lease held, does each engine answer, and can a process run jobs? As far as was seen."""
        return self._leases.are_held and self._leases.serving > 0 and not self._away

    def seconds_left(self) -> float:
        """Until the next turn has something to do."""
        return max(0.0, self._next_at - monotonic())

    def turn(self, heir: str) -> None:
        """Do what is due, in each database that answers; soon back. ``heir``: the id of the process that does it."""
        now = monotonic()
        if now < self._next_at:
            return
        self._next_at = now + self._every * random.uniform(0.75, 1.25)  # noqa: S311 - as above
        pruned = 0
        for lease in self._leases:
            if not lease.is_held:  # the store is away: what waits can wait, and the supervisor must not spin
                self._next_at = min(self._next_at, now + LONGEST_AWAY)
                continue
            try:
                self._rescue(lease, heir)
                control.end_pauses(lease.database)
                if now >= self._prune_at:
                    pruned += pruning.prune_batch(lease.database) or fold_counts(lease.database)
            except (BrokerError, *OUTAGE) as error:
                logger.warning("Maintenance of %r waits: %s", lease.database, one_line(error))
                let_go(connections[lease.database])
        if pruned:  # one batch a turn, and the next turn soon while there is more
            logger.debug("%s removed", counted(pruned, "old result"))
            self._next_at = monotonic() + BETWEEN_BATCHES
        elif now >= self._prune_at:
            self._prune_at = monotonic() + self._every * PRUNED_EVERY

    def _rescue(self, lease: Lease, heir: str) -> None:
        lease.bury()
        # Not a whole turn later: the jobs of a lost host have 45 s to run again, at the defaults.
        self._next_at = min(self._next_at, monotonic() + lease.burial_in())
        for broker in self._brokers:
            if broker.database != lease.database:
                continue
            self._away.add(broker.alias)  # also where it raises
            if not _rescue_lost(broker, heir, self._tell):
                continue
            self._away.discard(broker.alias)
            if not broker.is_checked:
                for problem in engine_problems(broker):
                    logger.log(logging.ERROR if problem.is_error else logging.WARNING, "%s", problem)


def engine_problems(broker: Broker) -> list[Problem]:
    """What is wrong with the engine beside its store. Where it does not answer it is to be asked again."""
    from ..brokers.kombu.advice import AWAY, backend_problems

    options = task_backends[broker.alias].taskq_options  # type: ignore[attr-defined]
    found = backend_problems(broker.alias, options, broker.database)
    broker.is_checked = all(problem.id != AWAY for problem in found)
    return found


def _rescue_lost(broker: Broker, heir: str, tell: Tell) -> bool:
    """Returns whether its engine answers, if it has one: the store and its other brokers need none."""
    try:
        for worker_id, held in broker.orphans(heir).items():
            if count := settle_dead(broker, worker_id, held, GONE, tell=tell):
                logger.warning("Worker process %s is lost: %s rescued", worker_id, counted(count, "job"))
    except EngineUnavailable as error:
        logger.warning("%s; what lost hosts held of %r waits", clause(error), broker.alias)
        return error.answers
    return True

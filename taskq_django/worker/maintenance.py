"""What every worker does for all: 1. count silent workers as lost · 2. rescue their jobs · 3. remove old results.

Safe in all of them at once.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from time import monotonic

from ..brokers import Broker
from ..exceptions import BrokerUnavailable, one_line
from ..store import pruning
from ..store.connections import OUTAGE
from .lease import Lease
from .rescue import Death, settle_dead

logger = logging.getLogger("taskq_django.worker")

# Old results are looked for in every so many looks.
PRUNED_EVERY = 12
BETWEEN_BATCHES = 0.1  # seconds
LONGEST_AWAY = 1.0  # seconds between two looks whether the store is there again

GONE = Death(cause="its worker gave no sign of life", begun=None)


class Maintenance:
    """Supervisor's loop only (with ``-p 0``: the loop)."""

    def __init__(self, brokers: Iterable[Broker], lease: Lease, *, every: float) -> None:
        self._brokers = list(brokers)
        self._lease = lease
        self._every = every
        self._prune_at = monotonic() + every * PRUNED_EVERY * random.random()  # noqa: S311 - as below
        self._next_at = monotonic() + every * random.random()  # noqa: S311 - so that workers take turns

    def seconds_left(self) -> float:
        """Until the next turn has something to do."""
        return max(0.0, self._next_at - monotonic())

    def turn(self) -> None:
        """Do what is due; soon back."""
        now = monotonic()
        if now < self._next_at:
            return
        if not self._lease.is_held:  # the store is away: what waits can wait, and the supervisor must not spin
            self._next_at = now + min(self._every, LONGEST_AWAY)
            return
        self._next_at = now + self._every * random.uniform(0.75, 1.25)  # noqa: S311 - as above
        try:
            self._rescue()
            if now >= self._prune_at:
                self._prune()
        except (BrokerUnavailable, *OUTAGE) as error:
            logger.warning("Maintenance waits: %s", one_line(error))

    def _prune(self) -> None:
        """One batch a turn, and the next turn soon while there is more."""
        count = 0
        for database in dict.fromkeys(broker.database for broker in self._brokers):
            count += pruning.prune_batch(database)
        if count:
            logger.debug("%d old results removed", count)
            self._next_at = monotonic() + BETWEEN_BATCHES
        else:
            self._prune_at = monotonic() + self._every * PRUNED_EVERY

    def _rescue(self) -> None:
        self._lease.bury()
        # Not a whole turn later: the jobs of a lost host have 45 s to run again, at the defaults.
        self._next_at = min(self._next_at, monotonic() + self._lease.burial_in())
        for broker in self._brokers:
            for worker_id, held in broker.stranded().items():
                if count := settle_dead(broker, worker_id, held, GONE):
                    logger.warning("Worker process %s is lost: %d jobs rescued", worker_id, count)

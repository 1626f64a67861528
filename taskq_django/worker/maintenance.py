"""What every worker does for all: 1. count silent workers as lost · 2. rescue their jobs. Safe in all at once."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from time import monotonic

from ..brokers import Broker
from ..exceptions import BrokerUnavailable
from .lease import Lease
from .rescue import Death, settle_dead

logger = logging.getLogger("taskq_django.worker")

GONE = Death(cause="its worker gave no sign of life", begun=None)


class Maintenance:
    """Supervisor's loop only (with ``-p 0``: the loop)."""

    def __init__(self, brokers: Iterable[Broker], lease: Lease, *, every: float) -> None:
        self._brokers = list(brokers)
        self._lease = lease
        self._every = every
        self._next_at = monotonic() + every * random.random()  # noqa: S311 - so that workers take turns

    def turn(self) -> None:
        """Do what is due; soon back."""
        now = monotonic()
        if now < self._next_at:
            return
        self._next_at = now + self._every * random.uniform(0.75, 1.25)  # noqa: S311 - as above
        try:
            self._rescue()
        except BrokerUnavailable as error:
            logger.warning("%s; maintenance waits", error)

    def _rescue(self) -> None:
        self._lease.bury()
        for broker in self._brokers:
            for worker_id, held in broker.stranded().items():
                if count := settle_dead(broker, worker_id, held, GONE):
                    logger.warning("Worker process %s is lost: %d jobs rescued", worker_id, count)

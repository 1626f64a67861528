"""Whether the engine answers the loop. While it does not, the store's rows are served all the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ...backoff import wait_after
from ...exceptions import BrokerUnavailable, clause

logger = logging.getLogger("taskq_django.broker")

# Before an engine that has failed is asked again, so many times as long as that took: who waits for it serves nobody.
TIMES, LONGEST_PAUSE = 2, 30.0  # seconds


class Engine:
    """One thread's; the methods are cheap while it answers."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.outages = 0  # since the start
        self._failures = 0  # in a row
        self._try_at = 0.0  # monotonic

    @property
    def answers(self) -> bool:
        """Did it, when it was asked last?"""
        return self._failures == 0

    @property
    def is_here(self) -> bool:
        """May it be asked now?"""
        return self._failures == 0 or monotonic() >= self._try_at

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Round every call. When it raises BrokerUnavailable the engine is away for a while, and that is all."""
        asked_at = monotonic()
        try:
            yield
        except BrokerUnavailable as error:
            self.outages += not self._failures
            self._failures += 1
            pause = max(wait_after(self._failures), min(LONGEST_PAUSE, TIMES * (monotonic() - asked_at)))
            self._try_at = monotonic() + pause
            logger.warning("%s; %r serves the store alone; next try in %.1f s", clause(error), self._alias, pause)
        else:
            if self._failures:
                logger.info("The engine of %r answers again", self._alias)
            self._failures = 0

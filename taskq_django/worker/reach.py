"""Which brokers answer. The outage of one is its own: a worker goes on serving the others.

A broker that has failed is away until it is time to try it. Then it is on trial for a whole turn of the loop, because a
full disk refuses only some of the writes: it is back when nothing in that turn has failed.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from types import TracebackType

from ..backoff import wait_after
from ..brokers import Broker
from ..exceptions import BrokerError, BrokerUnavailable, clause
from .blackboard import Blackboard
from .interpreter import HELD_UP, WAKES_OF_DRIVERS, own_wakes, was_waiting

logger = logging.getLogger("taskq_django.worker")

# The pause before the next try of a broker that is away is so many times as long as the last one took, because a loop
# that waits for it serves nobody meanwhile.
TIMES = 5
LONGEST_WAIT = 30.0  # seconds


@dataclass(slots=True)
class Outage:
    failures: int = 0  # in a row
    try_at: float = 0.0  # monotonic
    is_on_trial: bool = False


class Reach:
    """Loop thread only."""

    def __init__(self, brokers: Mapping[str, Broker], board: Blackboard, *, is_patient: bool = True) -> None:
        """``is_patient``: one of several counts as away, too, where its tables are missing. A worker that has only
        that one ends, and so does one that is to end by itself.
        """
        self._brokers = list(brokers.values())
        self.board = board
        self.caught = BrokerError if is_patient and len(brokers) > 1 else BrokerUnavailable
        self.waited = 0.0  # seconds in all, for their answers; not those for the interpreter, after an answer
        self._outages: dict[str, Outage] = {}  # of those that are away, by alias
        self._guards = {alias: Guard(self, broker) for alias, broker in brokers.items()}

    def has(self, alias: str) -> bool:
        """May this broker be asked now?"""
        outage = self._outages.get(alias)
        return outage is None or outage.is_on_trial

    def here(self) -> list[Broker]:
        """Those that may be asked now."""
        return [broker for broker in self._brokers if self.has(broker.alias)] if self._outages else self._brokers

    @property
    def is_whole(self) -> bool:
        """Do all of them answer, as far as is known?"""
        return not self._outages

    @property
    def is_on_trial(self) -> bool:
        """Is one of them being tried in this turn?"""
        return any(outage.is_on_trial for outage in self._outages.values())

    @property
    def next_try_at(self) -> float:
        """When one that is away is to be tried (monotonic); infinity for none."""
        return min((outage.try_at for outage in self._outages.values()), default=math.inf)

    def guard(self, broker: Broker) -> Guard:
        """Round every call of a broker. When it raises what is ``caught``, the broker is away, and that is all."""
        return self._guards[broker.alias]

    def begin_trials(self, *, all_of_them: bool = False) -> list[Broker]:
        """Those that are to be tried in this turn."""
        now = monotonic()
        tried = []
        for alias, outage in self._outages.items():
            if outage.try_at <= now or all_of_them:
                outage.is_on_trial = True
                tried.append(self._guards[alias].broker)
        return tried

    def end_trials(self) -> None:
        """The turn is over."""
        for alias in [alias for alias, outage in self._outages.items() if outage.is_on_trial]:
            del self._outages[alias]
            logger.info("The broker of %r answers again", alias)

    def lose(self, broker: Broker, error: BrokerError, seconds: float) -> None:
        """It has failed, after so many seconds."""
        outage = self._outages.setdefault(broker.alias, Outage())
        outage.failures += 1
        pause = wait_after(outage.failures)
        if len(self._brokers) > 1:
            pause = max(pause, min(LONGEST_WAIT, TIMES * seconds))
        pause *= random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        outage.try_at, outage.is_on_trial = monotonic() + pause, False
        logger.warning("%s; next try in %.1f s (%d)", clause(error), pause, outage.failures)


class Guard:
    """A context manager, made once a broker: it is entered for each group of jobs."""

    __slots__ = ("_entered_at", "_reach", "_wakes", "broker")

    def __init__(self, reach: Reach, broker: Broker) -> None:
        self._reach = reach
        self.broker = broker

    def __enter__(self) -> None:
        self._entered_at, self._wakes = monotonic(), own_wakes()
        self._reach.board.asks(self._entered_at)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._reach.board.asks(0.0)
        seconds = monotonic() - self._entered_at
        if seconds < HELD_UP or not was_waiting(self._wakes, own_wakes(), seconds, WAKES_OF_DRIVERS):
            self._reach.waited += seconds
        if not isinstance(error, self._reach.caught):
            return False
        self._reach.lose(self.broker, error, seconds)
        return True

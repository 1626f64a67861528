"""The loop: sleep until something is due, tick, again."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Sequence
from time import monotonic

from django.db import DatabaseError, InterfaceError, connections

from ..brokers import let_go
from ..conf import Beat as BeatSettings
from ..exceptions import BrokerUnavailable
from ..sessions import limit_own_sessions, unlimit_sessions
from ..sleeper import Sleeper
from . import declared
from .ticker import Ticker

logger = logging.getLogger("taskq_django.beat")

OUTAGE = (DatabaseError, InterfaceError, BrokerUnavailable)
LONGEST_PAUSE = 3.0  # seconds between two tries while a database is away
# A beat that is stopped in the middle of a tick keeps its schedules from others no longer than this.
LONGEST_TICK = 10.0  # seconds
ADOPT_EVERY = 5.0  # seconds; rows that were not made by Schedule.save() have no slot until then
BROKEN_EVERY = 60.0  # seconds; and those that could not be read are looked at again
MARGIN = 0.2  # seconds: what is due just after the next look is known before it


class Beat:
    """1. look ahead · 2. sleep until the first is due · 3. tick. Any number of beats may run at once."""

    def __init__(self, databases: Sequence[str], settings: BeatSettings) -> None:
        self._databases = list(databases)
        self._settings = settings
        self._tickers = {database: Ticker(database, settings) for database in databases}
        self._due: dict[str, deque[tuple[float, int]]] = {database: deque() for database in databases}  # monotonic, id
        self._adopt_at = self._broken_at = float("-inf")
        self._failures = 0  # looks in a row that were not answered
        self._sleeper = Sleeper()
        self._stopping = False
        self.lifelines: tuple[int, ...] = ()  # file descriptors that become readable when the parent is gone

    def stop(self) -> None:
        """Any thread, and signal handlers."""
        self._stopping = True
        self._sleeper.wake()

    def run(self) -> None:
        """Until stopped. A database that is away is waited for."""
        limit_own_sessions(self._databases, LONGEST_TICK)
        try:
            self._sync()
            while not self._stopping:
                pause = self.turn()
                if not self._stopping and self._sleeper.sleep(pause, self.lifelines):
                    break  # the parent is gone
        finally:
            unlimit_sessions()
            self._sleeper.close()

    def run_once(self) -> int:
        """Fire what is due now; returns how many jobs that were. Raises DatabaseError for an outage."""
        count = 0
        for database, ticker in self._tickers.items():
            declared.sync(database)
            ticker.adopt(broken_too=True)
            while ids := [id_ for id_, seconds in ticker.look_ahead(0.0) if seconds <= 0]:
                count += ticker.tick(ids)
        return count

    def turn(self) -> float:
        """Fire what has become due and look ahead; returns the seconds to sleep."""
        try:
            for database in self._databases:
                self._tick(database)
            self._adopt()
            pause = min(self._look_ahead(database) for database in self._databases)
        except OUTAGE as error:
            return self._wait_after(error)
        if self._failures:
            logger.info("The database answers again")
            self._failures = 0
        return pause

    def _tick(self, database: str) -> None:
        due = self._due[database]
        while due and due[0][0] <= monotonic() and not self._stopping:
            batch: list[int] = []
            while due and len(batch) < self._settings.batch and due[0][0] <= monotonic():
                batch.append(due.popleft()[1])
            self._tickers[database].tick(batch)

    def _look_ahead(self, database: str) -> float:
        # Not at the same moment as other beats that were started with this one.
        longest = self._settings.max_sleep * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
        asked_at = monotonic()
        found = self._tickers[database].look_ahead(longest + MARGIN)
        # The answer may have been long on its way: early is better than late, for what is not due is not fired.
        self._due[database] = deque((asked_at + seconds, id_) for id_, seconds in found)
        return max(0.0, min(longest, found[0][1] - (monotonic() - asked_at))) if found else longest

    def _adopt(self) -> None:
        now = monotonic()
        if now < self._adopt_at:
            return
        self._adopt_at = now + ADOPT_EVERY
        broken_too = now >= self._broken_at
        if broken_too:
            self._broken_at = now + BROKEN_EVERY
        for ticker in self._tickers.values():
            ticker.adopt(broken_too=broken_too)

    def _sync(self) -> None:
        for database in self._databases:
            while not self._stopping:
                try:
                    declared.sync(database)
                    break
                except OUTAGE as error:
                    if self._sleeper.sleep(self._wait_after(error), self.lifelines):
                        return

    def _wait_after(self, error: Exception) -> float:
        self._failures += 1
        pause: float = min(LONGEST_PAUSE, 0.25 * 2 ** min(self._failures - 1, 8))
        text = " ".join(str(error).split())
        logger.warning("Schedules could not be looked at: %s; next try in %.2f s (%d)", text, pause, self._failures)
        for database in self._databases:
            let_go(connections[database])
        return pause

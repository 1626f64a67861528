"""The loop: sleep until something is due, tick, again."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from time import monotonic

from django.db import connections

from ..backoff import wait_after
from ..conf import Beat as BeatSettings
from ..exceptions import BrokerUnavailable, clause
from ..sleeper import Sleeper
from ..store import beat_sign
from ..store.connections import OUTAGE, let_go, limit_own_sessions, unlimit_sessions
from . import declared
from .adopting import adopt
from .ticker import Ticker

logger = logging.getLogger("taskq_django.beat")

AWAY = (*OUTAGE, BrokerUnavailable)
# A beat that is stopped in the middle of a tick keeps its schedules from others no longer than this.
LONGEST_TICK = 10.0  # seconds
ADOPT_EVERY = 5.0  # seconds; rows that were not made by Schedule.save() have no slot until then
BROKEN_EVERY = 60.0  # seconds; and those that could not be read are looked at again
MARGIN = 0.2  # seconds: what is due just after the next look is known before it
HELD_PAUSE = 0.1  # seconds; what is due is held by another beat, which will have fired it soon


class Beat:
    """Looks after the schedules of some databases, each for itself. Any number of beats may run at once."""

    def __init__(self, databases: Sequence[str], settings: BeatSettings) -> None:
        self._watches = [Watch(database, settings) for database in databases]
        self._databases = list(databases)
        self._sleeper = Sleeper()
        self._stopping = False
        self.each_turn: Callable[[bool], None] = lambda is_ready: None  # does each database answer, and is it to go on?
        self.lifelines: tuple[int, ...] = ()  # file descriptors that become readable when the parent is gone

    def stop(self) -> None:
        """Any thread, and signal handlers."""
        self._stopping = True
        self._sleeper.wake()

    def run(self) -> None:
        """Until stopped. A database that is away is waited for, and keeps no other from being served."""
        limit_own_sessions(self._databases, LONGEST_TICK)
        try:
            while not self._stopping:
                pause = min(watch.turn(lambda: self._stopping) for watch in self._watches)
                self.each_turn(all(watch.is_answered for watch in self._watches) and not self._stopping)
                if not self._stopping and self._sleeper.sleep(pause, self.lifelines):
                    break  # the parent is gone
        finally:
            unlimit_sessions()
            self._sleeper.close()

    def run_once(self) -> int:
        """Fire what is due now; returns how many jobs that were. Raises DatabaseError for an outage."""
        try:
            return sum(watch.fire_once() for watch in self._watches)
        finally:
            self._sleeper.close()


class Watch:
    """One database: 1. tick what has become due · 2. look ahead · 3. say how long to sleep."""

    def __init__(self, database: str, settings: BeatSettings) -> None:
        self._database = database
        self._settings = settings
        self._ticker = Ticker(database, settings)
        self._is_synced = False  # are the rows what the code says?
        # All in monotonic seconds.
        self._turn_at = self._adopt_at = self._broken_at = self._sign_at = float("-inf")
        self._due_at = float("inf")
        self._failures = 0  # turns in a row that were not answered
        self._in_vain = 0  # ticks in a row that found nothing

    @property
    def is_answered(self) -> bool:
        """Was the last turn?"""
        return self._failures == 0

    def turn(self, is_stopping: Callable[[], bool]) -> float:
        """Do what is to be done now; returns the seconds until the next turn."""
        if monotonic() >= self._turn_at:
            try:
                pause = self._turn(is_stopping)
            except AWAY as error:
                pause = self._wait_after(error)
            self._turn_at = monotonic() + pause
        return max(0.0, self._turn_at - monotonic())

    def fire_once(self) -> int:
        declared.sync(self._database)
        adopt(self._database, self._settings.batch, broken_too=True)
        while adopt(self._database, self._settings.batch):
            pass
        jobs = 0
        while (ticked := self._ticker.tick()).schedules:
            jobs += ticked.jobs
        beat_sign.give_sign(self._database)
        return jobs

    def _turn(self, is_stopping: Callable[[], bool]) -> float:
        if not self._is_synced:
            declared.sync(self._database)
            self._is_synced = True
        if monotonic() >= self._due_at:
            self._in_vain = 0 if self._fire(is_stopping) else self._in_vain + 1
        self._adopt()
        self._give_sign()
        pause = self._look_ahead()
        if self._failures:
            logger.info("The database answers again")
            self._failures = 0
        # One tick in a row that finds nothing is usual, because it may come a moment too early.
        return HELD_PAUSE if pause == 0 and self._in_vain > 1 else pause

    def _fire(self, is_stopping: Callable[[], bool]) -> bool:
        """Whether there was something to fire. However much there is, the other databases have their turn soon."""
        found, until = False, monotonic() + self._settings.max_sleep
        while not is_stopping():
            count = self._ticker.tick().schedules
            found = found or count > 0
            if count < self._settings.batch or monotonic() >= until:
                break
        return found

    def _look_ahead(self) -> float:
        # With jitter, so that beats that were started together do not look together.
        longest = self._settings.max_sleep * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
        asked_at = monotonic()
        seconds = self._ticker.look_ahead(longest + MARGIN)
        # Counted from the question on, because the answer may have taken long: a tick that is too early fires nothing.
        self._due_at = float("inf") if seconds is None else asked_at + seconds
        return max(0.0, min(longest, self._due_at - monotonic()))

    def _adopt(self) -> None:
        now = monotonic()
        if now < self._adopt_at:
            return
        broken_too = now >= self._broken_at
        if broken_too:
            self._broken_at = now + BROKEN_EVERY
            declared.restore(self._database)
        # A whole batch means that there may be more.
        if adopt(self._database, self._settings.batch, broken_too=broken_too) < self._settings.batch:
            self._adopt_at = now + ADOPT_EVERY

    def _give_sign(self) -> None:
        if monotonic() >= self._sign_at:
            beat_sign.give_sign(self._database)
            self._sign_at = monotonic() + beat_sign.EVERY

    def _wait_after(self, error: Exception) -> float:
        self._failures += 1
        seconds = wait_after(self._failures)
        logger.warning(
            "Schedules in %r could not be looked at: %s; next try in %.2f s (%d)",
            self._database,
            clause(error),
            seconds,
            self._failures,
        )
        let_go(connections[self._database])
        return seconds

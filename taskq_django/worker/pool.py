"""Where claims are run: in threads and as coroutines, or in the calling thread.

Two queues are all that the loop and the pool share: claims go in by ``submit``, outcomes come out through ``done``.
"""

from __future__ import annotations

import contextvars
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Sequence
from time import monotonic

from asgiref.sync import async_to_sync

from ..jobs import Claim
from . import connections
from .callers_transaction import as_if_committed
from .runners import Coroutines, Runner, Surroundings, Threads
from .seats import Seat


class Pool(ABC):
    """What the loop asks of a pool, and the answers of one that runs each claim at once. Loop thread only."""

    # May it be given more than it has seats?
    has_backlog = True

    @property
    @abstractmethod
    def seats(self) -> int:
        """How many jobs it can run at a time, of the kind that came lately."""

    @abstractmethod
    def submit(self, claims: Sequence[Claim]) -> None:
        """Run these. Where a task's module is not imported yet, it is imported in a seat and not here."""

    def waiting(self) -> int:
        """How many claims have not begun."""
        return 0

    def withdraw(self, stalled: float = 0.0) -> list[Claim]:
        """Take back what has not begun, where no seat has come free for ``stalled`` seconds."""
        return []

    def running(self) -> Iterator[tuple[Seat, Claim]]:
        """What is being run, and where. Signal handlers may call it."""
        return iter(())

    @property
    def is_whole(self) -> bool:
        """Do all its threads live?"""
        return True

    def keeps_waiting(self, held: Container[str]) -> bool:
        """Does what is left of a job that is not held any more keep others from running?"""
        return False

    def close(self) -> None:  # noqa: B027 - without threads there is nothing to end
        """No more will come; what runs may end."""


class ConcurrentPool(Pool):
    """Threads for sync tasks, and an event loop for coroutines, which is made when the first one comes."""

    def __init__(self, given: Surroundings, threads: int, coroutines: int) -> None:
        connections.welcome_guests()
        self._given = given
        self._coroutine_seats = coroutines
        self._threads = Threads(threads, given)
        self._coroutines: Coroutines | None = None
        self._share_async = 0.0  # of the claims seen lately

    @property
    def _runners(self) -> list[Runner]:
        return [self._threads] if self._coroutines is None else [self._threads, self._coroutines]

    def submit(self, claims: Sequence[Claim]) -> None:
        is_async = self._given.executor.is_async
        coroutines = [claim for claim in claims if is_async(claim)]
        self._share_async += (len(coroutines) / len(claims) - self._share_async) * 0.5
        if not coroutines:
            self._threads.submit(claims)
            return
        if self._coroutines is None:
            self._coroutines = Coroutines(self._coroutine_seats, self._given)
        self._coroutines.submit(coroutines)
        if len(coroutines) < len(claims):
            self._threads.submit([claim for claim in claims if not is_async(claim)])

    @property
    def seats(self) -> int:
        # A claim cannot ask for one kind of task, so we expect the same share of coroutines as lately.
        threads, share = len(self._threads.seats), self._share_async
        return round(threads * (1 - share) + self._coroutine_seats * share)

    def waiting(self) -> int:
        return sum(runner.waiting() for runner in self._runners)

    def withdraw(self, stalled: float = 0.0) -> list[Claim]:
        then = monotonic() - stalled
        return [claim for runner in self._runners if runner.begun_at <= then for claim in runner.withdraw()]

    def running(self) -> Iterator[tuple[Seat, Claim]]:
        for runner in self._runners:
            for seat in runner.seats:
                if (claim := seat.claim) is not None:
                    yield seat, claim

    def keeps_waiting(self, held: Container[str]) -> bool:
        return self._coroutines is not None and self._coroutines.orm.keeps_waiting(held)

    @property
    def is_whole(self) -> bool:
        return all(runner.is_whole for runner in self._runners)

    def close(self) -> None:
        for runner in self._runners:
            runner.close()
        connections.no_more_guests()


class InlinePool(Pool):
    """Runs each claim where it is submitted: for tests, which see through their own connection only."""

    has_backlog = False  # one at a time: a job may enqueue one of higher priority
    seats = 1

    def __init__(self, given: Surroundings) -> None:
        self._given = given
        self._seat = Seat(given.board)

    def submit(self, claims: Sequence[Claim]) -> None:
        executor = self._given.executor
        for claim in claims:
            self._seat.begin(claim)
            outcome = None
            with as_if_committed():
                if not executor.is_async(claim):
                    outcome = contextvars.copy_context().run(executor.run, claim, self._seat)
                if outcome is None:
                    # asgiref hands the caller what a coroutine sets; in a worker it ends with its job.
                    outcome = contextvars.copy_context().run(async_to_sync(executor.arun), claim, self._seat)
            self._seat.end()
            self._given.done(outcome)

"""When somebody who waits for the end of jobs looks again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from time import monotonic
from types import TracebackType

from .base import Broker

FIRST, LONGEST = 0.002, 0.25  # seconds between two looks where nobody tells of the end: ever more
TOLD = 1.0  # seconds between two looks, and between two questions whether the end will be told of
FEW = 50  # jobs; of more nobody is asked to tell, because each is a question of its own


class Waiting:
    """One wait for some jobs, in one thread at a time. ``tell``: ends a pause; called by any thread."""

    def __init__(
        self,
        jobs: Iterable[tuple[Broker, str]],
        timeout: float | timedelta | None,
        tell: Callable[[], object],
    ) -> None:
        self.jobs = set(jobs)  # that have not ended; whoever waits takes out those that have
        self._watched: set[tuple[Broker, str]] = set()
        self._tell = tell
        self.timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        self._deadline = None if self.timeout is None else monotonic() + self.timeout
        self._next = FIRST
        self._ask_at = 0.0

    def pause(self) -> float | None:
        """Seconds until the next look, unless ``tell`` is called before; None: the time is over."""
        left = float("inf") if self._deadline is None else self._deadline - monotonic()
        if left <= 0:
            return None
        if self._are_told():
            return min(TOLD, left)
        pause, self._next = self._next, min(self._next * 1.5, LONGEST)
        return min(pause, left)

    def _are_told(self) -> bool:
        """A job that waits as a row is asked about once a second only: it may be on its way to the engine."""
        if len(self.jobs) > FEW or monotonic() < self._ask_at:
            return False
        self._watched |= self.jobs
        are_told = all(broker.watch(id_, self._tell) for broker, id_ in self.jobs)
        self._ask_at = 0.0 if are_told else monotonic() + TOLD
        return are_told

    def __enter__(self) -> Waiting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for broker, id_ in self._watched:
            broker.unwatch(id_, self._tell)

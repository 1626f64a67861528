"""When somebody who waits for the end of a job looks again."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType

from .base import Broker

FIRST, LONGEST = 0.002, 0.25  # seconds between two looks where nobody tells of the end: ever more
TOLD = 1.0  # seconds between two looks, and between two questions whether the end will be told of


class Waiting:
    """One wait for one job, in one thread at a time. ``tell``: ends a pause; called by any thread."""

    def __init__(self, broker: Broker, id_: str, timeout: float | None, tell: Callable[[], object]) -> None:
        self._broker = broker
        self._id = id_
        self._tell = tell
        self.timeout = timeout
        self._deadline = None if timeout is None else monotonic() + timeout
        self._next = FIRST
        self._ask_at = 0.0

    def pause(self) -> float | None:
        """Seconds until the next look, unless ``tell`` is called before; None: the time is over."""
        left = float("inf") if self._deadline is None else self._deadline - monotonic()
        if left <= 0:
            return None
        if self._is_told():
            return min(TOLD, left)
        pause, self._next = self._next, min(self._next * 1.5, LONGEST)
        return min(pause, left)

    def _is_told(self) -> bool:
        """A job that waits as a row is asked about once a second only: it may be on its way to the engine."""
        if monotonic() < self._ask_at:
            return False
        is_told = self._broker.watch(self._id, self._tell)
        self._ask_at = 0.0 if is_told else monotonic() + TOLD
        return is_told

    def __enter__(self) -> Waiting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._broker.unwatch(self._id, self._tell)

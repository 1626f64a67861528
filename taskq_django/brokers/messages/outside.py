"""What waits in an engine, for people and handles."""

from __future__ import annotations

from collections.abc import Collection

from ...jobs import Job
from ..base import Depth, Found
from .breaker import Breaker
from .transport import Transport


class OutsideJobs:
    """Any thread. Raises BrokerError, and at once while the engine is away."""

    def __init__(self, transport: Transport, breaker: Breaker) -> None:
        self._transport = transport
        self._breaker = breaker
        self.shows_waiting = transport.shows_waiting

    def describe(self) -> str:
        return self._transport.describe()

    def find(self, ids: Collection[str]) -> dict[str, Found]:
        return self._breaker.call(lambda: self._transport.find(ids))

    def depth(self) -> list[Depth]:
        """Nothing where the engine does not show it."""
        return self._breaker.call(self._transport.depth) if self.shows_waiting else []

    def peek(self, queue_name: str, limit: int) -> list[Job]:
        return self._breaker.call(lambda: self._transport.peek(queue_name, limit)) if self.shows_waiting else []

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

    def held(self, worker_ids: Collection[str], limit: int) -> list[Found]:
        """By the ids that each holds, because only the holder's entry tells since when."""
        found: list[Found] = []
        for worker_id in worker_ids:
            if len(found) >= limit:
                break
            ids = self._breaker.call(lambda: self._transport.held_by(worker_id, limit - len(found)))  # noqa: B023
            found += [each for each in self.find(ids).values() if each.worker_id == worker_id] if ids else []
        return found

    def peek(self, queue_name: str, limit: int) -> list[Job]:
        return self._breaker.call(lambda: self._transport.peek(queue_name, limit)) if self.shows_waiting else []

"""The messages that one process holds. Owned by its loop thread, which must go on when the engine is away."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from time import monotonic

from ...exceptions import BrokerUnavailable, counted, one_line
from ...jobs import Claim
from .engine import Engine
from .inheritance import Inheritance
from .transport import NewerMessage, NotJoined, Transport

# Where a newer release sends already, its workers must come to the messages.
REST = 10.0  # seconds

logger = logging.getLogger("taskq_django.broker")


class HeldMessages:
    def __init__(self, transport: Transport, engine: Engine, inheritance: Inheritance) -> None:
        self._transport = transport
        self._engine = engine
        self._inheritance = inheritance
        self._worker_id = ""
        self._held: dict[str, str] = {}  # ids, and who holds them
        self._resting: dict[str, float] = {}  # queues with a message of a newer release, and until when (monotonic)
        self._gone: dict[str, Claim] = {}  # by id, what is done with, and what the engine may have still
        self._is_unsure = False  # Has something had no answer, so that the engine may hold more for this process?
        self._outages = 0  # after which it was asked what it holds: it may have forgotten what it had confirmed

    def claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        """None while the engine is away."""
        claims: list[Claim] = []
        self._worker_id = worker_id
        if not self.rests(queue_name) and self.is_reachable():
            with self._engine.guard():
                try:
                    claims = self._joined_claim(queue_name, limit, worker_id)
                except BrokerUnavailable:
                    self._is_unsure = True
                    raise
        self._held.update([(claim.job.id, worker_id) for claim in claims])
        return claims

    def holds(self, id_: str, worker_id: str) -> bool:
        return self._held.get(id_) == worker_id

    def _joined_claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        try:
            return self._readable_claim(queue_name, limit, worker_id)
        except NotJoined:
            if not self._inheritance.is_registered(worker_id):
                return []  # it counts as dead, as it will see by its lease
        self._transport.join(worker_id)
        return self._readable_claim(queue_name, limit, worker_id)

    def _readable_claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        try:
            return self._transport.claim(queue_name, limit, worker_id)
        except NewerMessage as error:
            if queue_name not in self._resting:  # once, and not every ten seconds
                logger.error("%s Until then this process leaves the messages of %r alone", one_line(error), queue_name)
            self._resting[queue_name] = monotonic() + REST
            return []

    def rests(self, queue_name: str) -> bool:
        """Has it met a message there that only a newer release can read?"""
        return monotonic() < self._resting.get(queue_name, 0.0)

    @property
    def sees_all(self) -> bool:
        return self._engine.answers and not any(map(self.rests, self._resting))

    def is_reachable(self) -> bool:
        """May the engine be asked? After an outage what is done with is removed there first, and claims whose answer
        was lost go back: no queue tells of these, so that nobody else would look.
        """
        has_doubts = self._is_unsure or self._engine.outages > self._outages
        if has_doubts and self._worker_id and self._engine.is_here:
            self._clear_up()
        return self._engine.is_here and not self._is_unsure

    def _clear_up(self) -> int:
        count, outages, mine = 0, self._engine.outages, None
        with self._engine.guard():
            if self._gone:
                self._transport.ack(list(self._gone.values()))
                self._gone.clear()
            mine = self._transport.inherit(self._worker_id, self._worker_id)
        if mine is None:
            return 0  # what is done with is not removed yet
        unknown = [claim for claim, _ in mine if claim.job.id not in self._held]
        ended = self._inheritance.written(unknown)
        with self._engine.guard():
            if ended:
                self._transport.ack([claim for claim in unknown if claim.job.id in ended])
            if count := self._transport.release_unanswered(self._worker_id, self._held):
                logger.info("Given back: %s whose answer was lost", counted(count, "message"))
            self._is_unsure, self._outages = False, outages
        return count

    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        """Put back what this process does not know to hold; returns how many. Later, while the engine is away."""
        self._held = {id_: holder for id_, holder in self._held.items() if id_ in held or holder != worker_id}
        self._worker_id, self._is_unsure = worker_id, True
        return self._clear_up() if self._engine.is_here else 0

    def let_go(self, gone: Sequence[Claim], back: Sequence[Claim]) -> set[str]:
        """Have the engine remove some messages and put back others; returns the ids of those that were still held.

        While it is away that is done when it is there again, and they count as held.
        """
        claims = [*gone, *back]
        for claim in claims:
            self._held.pop(claim.job.id, None)
        if self._engine.is_here:
            with self._engine.guard():
                return let_go(self._transport, gone, back)
        self._is_unsure = True  # then what is to go back does so: it is not among those held
        self._gone |= {claim.job.id: claim for claim in gone}
        return {claim.job.id for claim in claims}


def let_go(transport: Transport, gone: Sequence[Claim], back: Sequence[Claim]) -> set[str]:
    """The same, and raises BrokerUnavailable: for who tries again by itself."""
    return (transport.ack(gone) if gone else set()) | (transport.release(back) if back else set())

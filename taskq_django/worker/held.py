"""What this process holds."""

from __future__ import annotations

from collections.abc import Iterable

from ..jobs import Claim, size_of
from .blackboard import Blackboard


class Held(dict[str, Claim]):
    """Its claims by the id of their job, from the claim until what came of it is stored. Only the loop writes.

    One that has begun has a line on the board until it is dropped here, so that whoever survives this process knows.
    """

    def __init__(self, board: Blackboard) -> None:
        super().__init__()
        self._board = board
        self.weight = 0  # of the arguments of all of them

    @property
    def room(self) -> int:
        """How many more can be held."""
        return self._board.lines - len(self)

    def take(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self[claim.job.id] = claim
            self.weight += size_of(claim.job.payload)

    def drop(self, claims: Iterable[Claim]) -> int:
        """They are settled, or lost; returns how many were still held."""
        dropped = [claim.job.id for claim in claims if self.get(claim.job.id) is claim]
        self.weight -= sum([size_of(self.pop(id_).job.payload) for id_ in dropped])
        self._board.settled(dropped)
        return len(dropped)

"""What this process holds."""

from __future__ import annotations

from collections.abc import Sequence

from ..jobs import Claim
from .blackboard import Blackboard


class Held(dict[str, Claim]):
    """Its claims by the id of their job, from the claim until what came of it is stored. Only the loop writes.

    Each has a line on the board, so that whoever survives this process can tell what had begun.
    """

    def __init__(self, board: Blackboard) -> None:
        super().__init__()
        self._board = board

    @property
    def room(self) -> int:
        """How many more can be held."""
        return self._board.room

    def take(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if (before := self.get(claim.job.id)) is not None:  # others had taken it from this process meanwhile
                self.drop(before)
            self[claim.job.id] = claim
        self._board.hold([claim.job.id for claim in claims])

    def drop(self, claim: Claim) -> bool:
        """It is settled, or lost. False: it was not held any more."""
        if self.get(claim.job.id) is not claim:
            return False
        del self[claim.job.id]
        self._board.settled(claim.job.id)
        return True

"""Jobs that may kill their process: none of them runs beside others, and none keeps others waiting.

A suspect was running when processes died, or its task keeps killing. A process that claims one puts it off, and asks
its supervisor for a ward: a process that runs this one job and nothing else. The supervisor opens few at a time, and of
a task that keeps killing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from ..jobs import Claim, Released
from .blackboard import Blackboard, Wanted
from .crash_record import CrashRecord, key_of
from .finisher import Finisher
from .held import Held

# A job that was running when so many processes died has a process of its own: if it kills this one too, it takes no
# other with it.
SUSPECT = 2
# Seconds until one that was put off is claimed again, for it may still wait for a ward. Each that is put off makes it
# longer for the next of its task, because of a flood no more should come back than wards can take.
FIRST, EACH, LONGEST = 3.0, 0.05, 600.0
LATE = 1.0  # seconds; it is put off when that is written, and becomes ready at a look
MOST = 100  # candidates for wards that a process keeps in mind; the others come back by themselves


class Suspects:
    """Loop thread only."""

    def __init__(
        self,
        held: Held,
        finisher: Finisher,
        board: Blackboard,
        record: CrashRecord,
        backends: Sequence[str],
    ) -> None:
        self._held = held
        self._finisher = finisher
        self._board = board
        self._record = record
        self._backends = backends
        self._candidates: dict[str, Wanted] = {}  # for wards, by id
        self._back_at: dict[int, float] = {}  # by the key of a task: when the last one will be ready (monotonic)
        self.is_flooded = False  # Did the last look at claims find no innocent?

    def put_off(self, claims: list[Claim]) -> list[Claim]:
        """Put the suspects among these off; returns the others."""
        if self._record.is_clean and all(claim.job.crashes < SUSPECT for claim in claims):
            self.is_flooded = False
            return claims
        suspects = [claim for claim in claims if self._is_suspect(claim)]
        ids = {claim.job.id for claim in suspects}
        innocent = [claim for claim in claims if claim.job.id not in ids]
        if suspects:
            now = monotonic()
            for claim in suspects:
                key = key_of(claim.job.task_path)
                back_at = min(max(self._back_at.get(key, 0.0), now + FIRST) + EACH, now + LONGEST)
                self._back_at[key] = back_at
                self._record.put_off(back_at)
                self._finisher.inbox.append(Released(claim, began=False, delay=back_at - now))
                self._consider(Wanted(self._backends.index(claim.job.backend), claim.job.id, key, back_at))
        self.is_flooded = bool(suspects) and not innocent
        return innocent

    def _is_suspect(self, claim: Claim) -> bool:
        if claim.verdict:
            return False  # it will not be run
        return claim.job.crashes >= SUSPECT or self._record.keeps_killing(key_of(claim.job.task_path))

    @property
    def are_away(self) -> bool:
        """Is one that was put off, by any process of this worker, not ready yet?"""
        return self._record.back_at + LATE > monotonic()

    def _consider(self, suspect: Wanted) -> None:
        """Of a task that keeps killing one is enough, because one runs at a time."""
        is_known = any(other.key == suspect.key for other in self._candidates.values())
        if len(self._candidates) < MOST and not (is_known and self._record.keeps_killing(suspect.key)):
            self._candidates[suspect.job_id] = suspect

    @property
    def wait_for_wards(self) -> bool:
        return bool(self._candidates)

    def ask_for_a_ward(self) -> None:
        """For the first that is put off by now: before that no other process could claim it."""
        if not self._candidates or self._board.wanted is not None:
            return
        now = monotonic()
        for wanted in list(self._candidates.values()):
            if wanted.job_id not in self._held:
                del self._candidates[wanted.job_id]
                is_slowed = self._record.keeps_killing(wanted.key) and self._record.is_isolated(wanted.key)
                if now < wanted.until and not is_slowed:  # else it comes back by itself
                    self._board.want(wanted)
                    return


def suspects_of(held: Held, finisher: Finisher, board: Blackboard, backends: Sequence[str]) -> Suspects | None:
    """None in a ward, and where no supervisor could open one."""
    if board.record is None or board.only is not None:
        return None
    return Suspects(held, finisher, board, board.record, backends)

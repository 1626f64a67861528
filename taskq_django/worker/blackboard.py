"""What a supervisor and one of its processes tell each other, in memory that both see.

It outlives the process: what had begun is still there when it has been killed. No locks: each entry has one writer.
Imports nothing of ours, so that it can be sent to a process in which Django is not set up.
"""

from __future__ import annotations

import math
from multiprocessing.context import BaseContext
from time import monotonic
from typing import Any

ID = 36  # bytes of a job's id as text
NOBODY = b"\0" * ID
RENEWED, SERVES, LEAVING, ENDED, FIRST_DEADLINE = 0, 1, 2, 3, 4


class Blackboard:
    def __init__(self, context: BaseContext, slots: int) -> None:
        """``slots``: how many jobs the process can run at a time. The clock is monotonic, and one for the host."""
        self._numbers: Any = context.RawArray("d", [0.0] * FIRST_DEADLINE + [math.inf] * slots)
        self._ids: Any = context.RawArray("c", slots * ID)
        self._slots = slots
        self._view: memoryview | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_view": None}

    # --- the supervisor writes --------------------------------------------------------------------------------

    def renewed(self, at: float) -> None:
        """The lease holds, counted from ``at``."""
        self._numbers[RENEWED] = at

    # --- the process writes -----------------------------------------------------------------------------------

    def serves(self) -> None:
        """My loop runs: the project's code could be loaded."""
        self._numbers[SERVES] = 1.0

    def begin(self, slot: int, job_id: str) -> None:
        """Before the first line of the task."""
        if self._view is None:
            self._view = memoryview(self._ids).cast("B")
        self._view[slot * ID : slot * ID + ID] = job_id.encode()

    def limit(self, slot: int, deadline: float) -> None:
        """When what runs there should have ended; infinity for no limit."""
        self._numbers[FIRST_DEADLINE + slot] = deadline

    def end(self, slot: int) -> None:
        if self._view is not None:
            self._view[slot * ID : slot * ID + ID] = NOBODY

    def leave(self) -> None:
        """Replace me: I end when what I run has ended."""
        self._numbers[LEAVING] = 1.0

    def ended(self) -> None:
        """I end by my own will; I hold nothing."""
        self._numbers[ENDED] = 1.0

    # --- read -------------------------------------------------------------------------------------------------

    def lease_age(self) -> float:
        """Seconds since the lease was last known to hold."""
        age: float = monotonic() - self._numbers[RENEWED]
        return age

    @property
    def has_served(self) -> bool:
        return bool(self._numbers[SERVES])

    @property
    def has_ended(self) -> bool:
        return bool(self._numbers[ENDED])

    @property
    def is_leaving(self) -> bool:
        return bool(self._numbers[LEAVING])

    def begun(self) -> set[str]:
        """The ids of the jobs that have begun and not ended."""
        return {job_id for _, job_id in self._entries()}

    def overdue(self, now: float) -> dict[str, float]:
        """By job id, for how many seconds it has been running beyond its limit."""
        deadlines = self._numbers[FIRST_DEADLINE : FIRST_DEADLINE + self._slots]
        return {job_id: now - deadlines[slot] for slot, job_id in self._entries() if deadlines[slot] < now}

    def _entries(self) -> list[tuple[int, str]]:
        raw = bytes(memoryview(self._ids).cast("B"))
        pieces = ((slot, raw[slot * ID : slot * ID + ID]) for slot in range(self._slots))
        return [(slot, piece.decode("ascii", "replace")) for slot, piece in pieces if piece != NOBODY]

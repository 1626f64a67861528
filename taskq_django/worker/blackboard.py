"""What a supervisor and one of its processes tell each other, in memory that both see.

It outlives the process: what had begun is still there when it has been killed. No locks: each entry has one writer
at a time. Imports nothing of ours that needs Django: it can be sent to a process in which that is not set up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, MutableSequence
from multiprocessing.context import BaseContext
from time import monotonic
from typing import Any, NamedTuple

from .crash_record import CrashRecord

ID = 36  # bytes of a job's id as text
SERVES, WORKS, TURNED, ASKS, LEAVING, ENDED, QUIET, WANTS, WANTS_KEY, WANTS_UNTIL, FIRST_LEASE = range(11)
FREE, BEGUN, OVER = range(3)  # of a line


class Wanted(NamedTuple):
    """A suspect, which is to run in a process of its own."""

    backend: int  # its number among those that the worker serves
    job_id: str
    key: int  # of its task, in the record of crashes
    until: float  # monotonic; then it comes back by itself, and anybody may have it


class Blackboard:
    """Has a line for each job of the process that has begun, until what came of it is stored."""

    def __init__(
        self,
        context: BaseContext,
        lines: int,
        leases: int = 1,
        record: CrashRecord | None = None,
        only: Wanted | None = None,
    ) -> None:
        """``lines``: how many jobs the process can hold; ``leases``: in how many databases its worker has one.

        ``record``: that of its supervisor; ``only``: what a ward runs. The clock is monotonic, and one for the host.
        """
        self.lines = lines
        self.record = record
        self.only = only
        self._leases = range(FIRST_LEASE, FIRST_LEASE + leases)
        self._first_deadline = FIRST_LEASE + leases
        self._first_thread = self._first_deadline + lines
        start = [0.0] * FIRST_LEASE + [-math.inf] * leases + [math.inf] * lines + [0.0] * lines
        self._numbers: MutableSequence[float] = context.RawArray("d", start)
        self._shared_stages: Any = context.RawArray("B", lines)
        self._shared_ids: Any = context.RawArray("c", lines * ID)
        self._wanted_id: Any = context.RawArray("c", ID)
        # Of the process only: where each of its jobs stands, and which lines are free. Any thread takes a line, the
        # loop gives it back: each by one step of the interpreter.
        self._line_of: dict[str, int] = {}
        self._free = list(range(lines))
        self._look()

    def _look(self) -> None:
        # Through a view one byte costs half of what it costs through the array, thirty-six a tenth.
        self._stages = memoryview(self._shared_stages).cast("B")
        self._ids = memoryview(self._shared_ids).cast("B")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not isinstance(value, memoryview)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._look()

    # --- the supervisor writes --------------------------------------------------------------------------------

    def renewed(self, lease: int, at: float) -> None:
        """This lease holds, counted from ``at``."""
        self._numbers[FIRST_LEASE + lease] = at

    def needs_no_lease(self) -> None:
        """Nobody else could take its jobs for lost."""
        for lease in self._leases:
            self._numbers[lease] = math.inf

    def hush(self, is_quiet: bool) -> None:
        """Begin nothing more, or go on."""
        self._numbers[QUIET] = is_quiet

    def granted(self) -> None:
        """What was wanted is seen to: something else may be."""
        self._numbers[WANTS] = 0.0

    # --- the process writes: its loop -------------------------------------------------------------------------

    def serves(self) -> None:
        """My loop runs: the project's code could be loaded."""
        self._numbers[SERVES] = 1.0

    def works(self, ended: int) -> None:
        """I have ended so many jobs."""
        self._numbers[WORKS] = ended

    def turned(self, at: float) -> None:
        """My loop was here."""
        self._numbers[TURNED] = at

    def asks(self, since: float) -> None:
        """My loop waits for the answer of a broker; 0 for not any more."""
        self._numbers[ASKS] = since

    def leave(self) -> None:
        """Replace me: I end when what I run has ended."""
        self._numbers[LEAVING] = 1.0

    def ended(self) -> None:
        """I end by my own will; I hold nothing."""
        self._numbers[ENDED] = 1.0

    def want(self, wanted: Wanted) -> None:
        """Have this run in a process of its own. Only where nothing else is wanted."""
        self._wanted_id[:] = wanted.job_id.encode()
        self._numbers[WANTS_KEY], self._numbers[WANTS_UNTIL] = wanted.key, wanted.until
        self._numbers[WANTS] = wanted.backend + 1.0  # last: from now on it is read

    def settled(self, job_ids: Iterable[str]) -> None:
        """What came of them is stored, or they are mine no more."""
        line_of, stages, free = self._line_of, self._stages, self._free
        for job_id in job_ids:
            line = line_of.pop(job_id, None)
            if line is not None:  # else it has not begun
                stages[line] = FREE
                free.append(line)

    # --- the process writes: the thread that runs the job -----------------------------------------------------

    def begin(self, job_id: str) -> int:
        """Before its module is imported, and before the first line of the task; returns its line."""
        line = self._free.pop()
        self._ids[line * ID : line * ID + ID] = job_id.encode()
        self._stages[line] = BEGUN
        self._line_of[job_id] = line
        return line

    def limit(self, line: int, deadline: float, thread: int = 0) -> None:
        """When what runs there should have ended; infinity for no limit. ``thread``: its native id."""
        self._numbers[self._first_thread + line] = thread
        self._numbers[self._first_deadline + line] = deadline

    def end(self, line: int) -> None:
        """Its run is over; what came of it is not stored yet."""
        self._stages[line] = OVER

    # --- read -------------------------------------------------------------------------------------------------

    def lease_age(self, lease: int) -> float:
        """Seconds since this lease was last known to hold; infinity for never."""
        return monotonic() - self._numbers[FIRST_LEASE + lease]

    def youngest_lease_age(self) -> float:
        """That of the lease which was renewed last."""
        return monotonic() - max(self._numbers[lease] for lease in self._leases)

    @property
    def has_served(self) -> bool:
        """Did its loop run?"""
        return bool(self._numbers[SERVES])

    @property
    def has_worked(self) -> bool:
        return bool(self._numbers[WORKS])

    @property
    def turned_at(self) -> float:
        """When its loop was seen last (monotonic); 0 for never."""
        return self._numbers[TURNED]

    @property
    def asks_since(self) -> float:
        """Since when its loop has been waiting for a broker (monotonic); 0 when it does not."""
        return self._numbers[ASKS]

    @property
    def has_ended(self) -> bool:
        """Did it end by itself, with nothing left behind?"""
        return bool(self._numbers[ENDED])

    @property
    def is_leaving(self) -> bool:
        return bool(self._numbers[LEAVING])

    @property
    def is_quiet(self) -> bool:
        """Has somebody asked its worker to begin nothing more?"""
        return bool(self._numbers[QUIET])

    @property
    def wanted(self) -> Wanted | None:
        if not (number := self._numbers[WANTS]):
            return None
        key, until = int(self._numbers[WANTS_KEY]), self._numbers[WANTS_UNTIL]
        return Wanted(int(number) - 1, self._wanted_id[:].decode(), key, until)

    def begun(self) -> set[str]:
        """The ids of the jobs whose runs have begun and are not over."""
        return {job_id for _, job_id in self._in_stage(BEGUN)}

    def over(self) -> set[str]:
        """The ids of the jobs whose runs are over, though what came of them is not known to be stored."""
        return {job_id for _, job_id in self._in_stage(OVER)}

    def overdue(self, now: float) -> dict[str, float]:
        """By job id, for how many seconds it has been running beyond its limit."""
        numbers, first = self._numbers, self._first_deadline
        late = ((job_id, now - numbers[first + line]) for line, job_id in self._in_stage(BEGUN))
        return {job_id: seconds for job_id, seconds in late if seconds > 0}

    def threads(self) -> dict[str, int]:
        """By job id, in which thread what has a limit runs."""
        return {job_id: int(self._numbers[self._first_thread + line]) for line, job_id in self._in_stage(BEGUN)}

    def _in_stage(self, stage: int) -> Iterator[tuple[int, str]]:
        for line, theirs in enumerate(self._stages):
            if theirs == stage:
                yield line, bytes(self._ids[line * ID : line * ID + ID]).decode("ascii", "replace")

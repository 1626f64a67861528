"""Whether this process is still fit to run jobs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import monotonic

from ..exceptions import counted
from .deadlines import Deadlines
from .held import Held
from .pool import Pool

LOOK_AGAIN = 1.0  # seconds between two looks at the memory and the threads

_STATM = Path("/proc/self/statm")


class PoolBroken(Exception):
    """Jobs would wait in this process for ever. It ends as one that crashes: what has begun in it is to blame."""


class Fitness:
    """Loop thread only."""

    def __init__(self, pool: Pool, deadlines: Deadlines, held: Held, most_mib: int | None) -> None:
        """``most_mib``: memory in MiB beyond which the process is to be replaced."""
        self._pool = pool
        self._deadlines = deadlines
        self._held = held
        self._most_mib = most_mib
        self._look_at = 0.0

    def fault(self) -> str:
        """Why this process should be replaced when what runs has ended; "" for nothing. Raises PoolBroken."""
        if stuck := len(self._deadlines.stuck):
            return f"{counted(stuck, 'run')} did not come back from an interrupt"
        if (now := monotonic()) < self._look_at:
            return ""
        self._look_at = now + LOOK_AGAIN
        if not self._pool.is_whole:
            raise PoolBroken("A thread of the pool, or its event loop, has ended under the jobs that it ran")
        if self._pool.keeps_waiting(self._held):
            return "a call in a thread, made by a coroutine that has ended, keeps others waiting"
        if self._most_mib is not None and (used := resident_mib()) > self._most_mib:
            return f"it uses {used} MiB"
        return ""


def memory_of(pid: int) -> int:
    """MiB that a process has to itself, and its part of what it shares with others; 0 where the system does not tell.

    What a fork shares with its parent counts once, so those of a worker's processes can be added up.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):  # it has just ended, or this is no Linux
        return 0


def resident_mib() -> int:
    """Resident memory in MiB; where the system does not tell (macOS), the most it has ever been; 0 on Windows."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10

"""Which threads wait for the interpreter, while another one holds it: a call in C that lets no other thread run.

A thread of CPython that waits for it wakes up every few milliseconds, to ask for it. One that holds it does not,
whether it computes or sleeps, and nor does one that waits for something else.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# A loop that comes to its turn so much later than it should was kept from running: by a job that holds the interpreter.
HELD_UP = 0.5  # seconds
WAKES = 8  # a second, of one that waits for the interpreter; it is some two hundred where a core is free
# The same of one that has asked a broker, because a driver, and the lock of a file, are looked at ten times a second.
WAKES_OF_DRIVERS = 40


def own_wakes() -> int | None:
    """Of the calling thread, as ``wakes_of`` tells it of others; None where the system does not."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw if hasattr(resource, "RUSAGE_THREAD") else None


def wakes_of(thread: int, pid: int | str = "self") -> int | None:
    """How often this thread has woken up by itself, by its native id; None where the system does not tell (macOS)."""
    with suppress(OSError):  # also where it has ended
        for line in Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                return int(line.split()[1])
    return None


def was_waiting(before: int | None, after: int | None, seconds: float, wakes: int = WAKES) -> bool | None:
    """Did it wait for the interpreter for a good part of this time? None where the system does not tell.

    ``wakes``: a second, more of which than of anything else.
    """
    return None if before is None or after is None else after - before >= wakes * seconds

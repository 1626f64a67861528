"""How a service ends that was told twice to stop, whatever hangs in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any

from ..brokers import cut_lines
from .listening import listen

# Time to end by itself; and how often it is freed meanwhile from what it waits for.
SECONDS, EVERY = 3.5, 0.7

_end_by = 0.0  # monotonic; 0: it was not told twice


def end_soon(code: int, before: Callable[[], None] = lambda: None) -> None:
    """For a signal handler: unless it ends by itself, this process does with ``code`` in less than five seconds.

    ``before`` is called first. Until then a database that does not answer holds it up no longer than a second.
    """
    global _end_by
    if _end_by or not hasattr(signal, "setitimer"):
        return
    _end_by = monotonic() + SECONDS

    def ring(number: int, frame: Any) -> None:
        if monotonic() < _end_by:
            cut_lines()
            return
        before()
        # Not by the log, in the middle of which this may have come.
        os.write(2, b"Told twice to stop, it has not ended by itself; it ends now\n")
        os._exit(code)

    listen({signal.SIGALRM: ring})
    signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)


def is_over() -> None:
    """It has ended by itself. Python's own end would take the handler away first, and leave the alarm."""
    global _end_by
    if _end_by:
        _end_by = 0.0
        signal.setitimer(signal.ITIMER_REAL, 0)

"""How a service ends that was told twice to stop, whatever hangs in it.

A driver may wait where no signal handler can run, and two signals may come before one does. So a thread counts them
where they arrive: Python writes each as a byte into a pipe at once. It rests while its process forks.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from ..store.limits import cut_lines, own_lines

# Time to end by itself; and how often it is freed meanwhile from what it waits for.
SECONDS, EVERY = 3.5, 0.7
STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
REST = b"\0"  # no signal has this number


class LastResort:
    """Of the main thread, which makes it once it is to listen, and ends it by ``close``."""

    def __init__(self, code: int, before: Callable[[], None] = lambda: None) -> None:
        """In less than five seconds after the second stop signal this process ends with ``code``, ``before`` that."""
        self._code, self._before = code, before
        self._lines = own_lines()
        self._stops = 0
        self._has_ended = threading.Event()
        self._arrived, self._arrive = os.pipe()
        # What has come, for a loop that sleeps on it: readable after each signal, and a byte for each.
        self.heard, self._forward = os.pipe()
        for fd in (self._arrive, self.heard, self._forward):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._arrive, warn_on_full_buffer=False)
        self._start()

    @property
    def is_urgent(self) -> bool:
        """Has this process been told twice to stop?"""
        return self._stops > 1

    @contextmanager
    def rests(self) -> Iterator[None]:
        """A process with one thread only can be forked safely."""
        self._end()
        try:
            yield
        finally:
            self._start()

    def close(self) -> None:
        self._has_ended.set()
        signal.set_wakeup_fd(-1)
        self._end()
        for fd in (self._arrived, self._arrive, self.heard, self._forward):
            os.close(fd)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="taskq last resort", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        os.write(self._arrive, REST)
        self._thread.join()

    def _watch(self) -> None:
        while not self.is_urgent:
            came = os.read(self._arrived, 4096)
            self._stops += sum(number in STOPS for number in came)
            with suppress(BlockingIOError):
                os.write(self._forward, came.replace(REST, b""))
            if REST in came:
                return
        end_by = monotonic() + SECONDS
        while monotonic() < end_by:
            if self._has_ended.wait(EVERY):
                return
            cut_lines(self._lines)
        self._before()
        # Without the log, because the log itself may be what hangs.
        os.write(2, b"Told twice to stop, it has not ended by itself; it ends now\n")
        os._exit(self._code)

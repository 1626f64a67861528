"""Where the loop sleeps: one wait for the pool, the stop signal, the bells and the supervisor's pipe."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress


class Sleeper:
    def __init__(self) -> None:
        # A socket pair and not a pipe: Windows can wait for nothing else.
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._outside.setblocking(False)
        # Set by the loop before it sleeps, cleared by who wakes it: a wake-up is a system call, and a busy pool
        # would make one a job. A lost race costs one call too many, never a wake-up too few.
        self.is_asleep = False

    def wake(self) -> None:
        """Any thread, and signal handlers, also when it is closed already."""
        self.is_asleep = False
        with suppress(OSError):  # full of wake-ups already, or closed
            self._outside.send(b"!")

    def sleep(
        self, seconds: float, fds: Sequence[int] = (), *, unless: Callable[[], bool] = lambda: False
    ) -> list[int]:
        """Until woken, until one of ``fds`` is readable (those are returned), or until ``seconds`` are over.

        Not at all when ``unless`` holds once wake-ups are being sent.
        """
        own = self._inside.fileno()
        self.is_asleep = True
        if unless():
            seconds = 0.0
        if hasattr(select, "poll"):  # select() fails above file descriptor 1,023
            waiter = select.poll()
            for fd in (own, *fds):
                waiter.register(fd, select.POLLIN)
            readable = [fd for fd, _ in waiter.poll(max(0.0, seconds) * 1000)]
        else:
            readable = select.select([own, *fds], [], [], max(0.0, seconds))[0]
        self.is_asleep = False
        if own in readable:
            self._inside.recv(4096)
            readable.remove(own)
        return readable

    def close(self) -> None:
        self._inside.close()
        self._outside.close()

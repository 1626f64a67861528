"""Where the loop sleeps: one wait for the pool, the stop signal, the bells and the supervisor's pipe."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence


class Sleeper:
    def __init__(self) -> None:
        # A socket pair and not a pipe: Windows can wait for nothing else.
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._outside.setblocking(False)

    def wake(self) -> None:
        """Any thread, and signal handlers."""
        try:
            self._outside.send(b"!")
        except BlockingIOError:
            pass  # full of wake-ups already

    def sleep(self, seconds: float, fds: Sequence[int] = ()) -> list[int]:
        """Until woken, until one of ``fds`` is readable (those are returned), or until ``seconds`` are over."""
        own = self._inside.fileno()
        if hasattr(select, "poll"):  # select() fails above file descriptor 1,023
            waiter = select.poll()
            for fd in (own, *fds):
                waiter.register(fd, select.POLLIN)
            readable = [fd for fd, _ in waiter.poll(max(0.0, seconds) * 1000)]
        else:
            readable = select.select([own, *fds], [], [], max(0.0, seconds))[0]
        if own in readable:
            self._inside.recv(4096)
            readable.remove(own)
        return readable

    def close(self) -> None:
        self._inside.close()
        self._outside.close()

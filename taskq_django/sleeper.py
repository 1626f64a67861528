"""Where the loop sleeps: one wait for the pool, the stop signal, the bells and the supervisor's pipe."""

from __future__ import annotations

import math
import select
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from time import monotonic


class Bell(ABC):
    """How a sleeping worker loop learns that there may be work. A hint only: the loop looks by itself as well.

    Loop thread only. ``idle`` is how many seconds ago there was work.
    """

    @property
    def source(self) -> Hashable:
        """What it hears. Of several bells with the same one a loop needs one only."""
        return self

    @property
    def fd(self) -> int | None:
        """A file descriptor that becomes readable when it rings; None for a bell that has to be asked."""
        return None

    def glance(self, idle: float) -> float | None:
        """Seconds between two calls of ``rang``; None where the file descriptor tells all, or it never rings."""
        return None

    @abstractmethod
    def rang(self) -> bool:
        """Has it rung since the last call?"""

    @abstractmethod
    def patience(self, idle: float) -> float:
        """Seconds after which the queues must be looked at though it did not ring."""

    def close(self) -> None:  # noqa: B027 - most bells leave nothing behind
        """Nobody will ask any more."""


class Sleeper:
    """Sleeps in one thread, until its time is over, another thread wakes it, or one of some files can be read."""

    def __init__(self) -> None:
        # A socket pair, because Windows can wait for nothing else.
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._outside.setblocking(False)
        # The loop sets it before it sleeps, and who wakes the loop clears it, because a wake-up is a system call: a
        # busy pool would make one for each job. A lost race costs a call too many, and never a wake-up too few.
        self.is_asleep = False
        self.slept = 0.0  # seconds in all; not those for which it was kept from waking up

    def wake(self) -> None:
        """Any thread, and signal handlers, also when it is closed already."""
        self.is_asleep = False
        with suppress(OSError):  # full of wake-ups already, or closed
            self._outside.send(b"!")

    def sleep(
        self,
        seconds: float,
        fds: Sequence[int] = (),
        *,
        unless: Callable[[], bool] = lambda: False,
        glance: float = math.inf,
        rang: Callable[[], bool] = lambda: False,
    ) -> list[int]:
        """Until woken, until one of ``fds`` is readable (those are returned), or until ``seconds`` are over.

        Not at all when ``unless`` holds once wake-ups are being sent. ``rang`` is asked every ``glance`` seconds, in
        between: when it says yes, the sleep is over.
        """
        own = self._inside.fileno()
        until = (began := monotonic()) + seconds
        self.is_asleep = True
        if unless():
            until = 0.0
        readable: list[int] = []
        wait = _waiter([own, *fds])
        while not readable:
            left = until - monotonic()
            readable = wait(max(0.0, min(left, glance)))
            if left <= glance or (not readable and rang()):
                break
        self.is_asleep = False
        self.slept += max(0.0, min(seconds, monotonic() - began))
        if own in readable:
            self._inside.recv(4096)
            readable.remove(own)
        return readable

    def close(self) -> None:
        self._inside.close()
        self._outside.close()


def _waiter(fds: Sequence[int]) -> Callable[[float], list[int]]:
    """What waits so many seconds until some of them are readable, and returns those."""
    if not hasattr(select, "poll"):  # Windows; select() fails above file descriptor 1,023
        return lambda seconds: select.select(fds, [], [], seconds)[0]
    waiter = select.poll()
    for fd in fds:
        waiter.register(fd, select.POLLIN)
    return lambda seconds: [fd for fd, _ in waiter.poll(seconds * 1000)]

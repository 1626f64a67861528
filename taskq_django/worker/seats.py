"""One place of the pool: what it runs, until when it may, and how that is ended from outside.

The thread that runs a job writes; the loop thread reads, and interrupts. There are no locks: see ``interrupt``.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import threading
import time
from collections.abc import Callable
from time import monotonic
from typing import Literal

from ..jobs import Claim
from .blackboard import Blackboard
from .interpreter import own_wakes

Reason = Literal["timeout", "cancel"]


class Interrupted(BaseException):
    """Raised inside a task's own frame, in a thread, to end it. Never seen outside of a run."""


class Seat:
    """A place that cannot be interrupted: of the inline pool."""

    def __init__(self, board: Blackboard, limited: Callable[[], None] = lambda: None) -> None:
        """``limited`` is called when a job with a limit begins: its deadline may come before the loop wakes."""
        self._board = board
        self._limited = limited
        self.ident = 0  # of the thread that runs it
        self.claim: Claim | None = None
        self.began = 0.0
        self._line = 0  # on the board
        self.deadline = math.inf
        self.thread = 0  # its native id, where there is a limit
        self.wakes: int | None = None  # of the thread, when the task's own code began
        self.reason: Reason | None = None  # why it was interrupted
        self.asked_at = math.inf  # when
        self.is_cancelled = False  # asked for; a task that takes its context may look
        self._armed: Claim | None = None  # while the task's own code runs

    def begin(self, claim: Claim) -> None:
        self.reason, self.asked_at, self.is_cancelled = None, math.inf, False
        self.began = monotonic()
        self._line = self._board.begin(claim.job.id)
        self.claim = claim

    def arm(self, timeout: float | None) -> None:
        """The task's own code is about to run, for ``timeout`` seconds at most."""
        if timeout is not None:
            self.thread, self.wakes = threading.get_native_id(), own_wakes()
            self.deadline = monotonic() + timeout
            self._board.limit(self._line, self.deadline, self.thread)
            self._limited()
        self._armed = self.claim

    def disarm(self) -> None:
        """Its code has ended; nothing will be interrupted from now on. May be called twice."""
        self._armed = None

    def end(self) -> None:
        """The run is over. Until what came of it is stored, the board says so: the job is not to begin again."""
        self.claim = None
        if self.deadline is not math.inf:
            self.deadline = math.inf
            self._board.limit(self._line, math.inf)
        self._board.end(self._line)

    def unbegin(self, claim: Claim) -> None:
        """The job is to run elsewhere in this process: here nothing of it but its module was touched."""
        self.claim = None
        self._board.settled([claim.job.id])

    def interrupt(self, claim: Claim, reason: Reason) -> None:
        """Loop thread: end the task's code, if this claim is what it runs."""
        self.reason, self.asked_at = reason, monotonic()


class ThreadSeat(Seat):
    """Of a thread: an exception is set that CPython raises at the thread's next line of Python.

    It must not arrive outside the task's code, and there is no lock. The loop first sets ``_firing``, then reads
    ``_armed``; the thread first clears ``_armed``, then reads ``_firing``. So when both do it at once, either the loop
    finds the seat disarmed and sets no exception, or the thread finds the loop firing and waits until it has.
    """

    def __init__(self, board: Blackboard, limited: Callable[[], None]) -> None:
        super().__init__(board, limited)
        self._firing = False
        self._fired = False

    def interrupt(self, claim: Claim, reason: Reason) -> None:
        self._firing = True
        if self._armed is claim and not self._fired:
            super().interrupt(claim, reason)
            self._fired = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(Interrupted))
        self._firing = False

    def disarm(self) -> None:
        try:
            self._disarm()
        except Interrupted:
            self._disarm()  # the only interrupt has come here, after the task

    def _disarm(self) -> None:
        self._armed = None
        while self._firing:
            time.sleep(0)
        if self._fired:
            for _ in range(100):  # CPython raises an exception that was set where a loop jumps back: here, not later
                pass
            self._fired = False


class CoroutineSeat(Seat):
    """Of a coroutine: the event loop cancels it."""

    def __init__(self, board: Blackboard, limited: Callable[[], None]) -> None:
        super().__init__(board, limited)
        self.running: asyncio.Task[None] | None = None
        self.event_loop: asyncio.AbstractEventLoop | None = None

    def interrupt(self, claim: Claim, reason: Reason) -> None:
        super().interrupt(claim, reason)
        if self.event_loop is not None:
            self.event_loop.call_soon_threadsafe(self._cancel, claim)

    def _cancel(self, claim: Claim) -> None:
        if self._armed is claim and self.running is not None:
            self.running.cancel()

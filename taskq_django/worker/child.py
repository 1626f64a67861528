"""One worker process, as its supervisor sees it."""

from __future__ import annotations

import math
import os
import signal
from contextlib import suppress
from multiprocessing.process import BaseProcess
from time import monotonic

from .blackboard import Blackboard
from .loop import GRACE_EXPIRED
from .rescue import Death

# How long after a time limit, or the grace of a stop, a process counts as frozen: a healthy one acts long before.
FROZEN = 5.0  # seconds
HEALTHY = 10.0  # seconds; a process that lives longer has started well
# How long a process that must stop now may take to give back what it holds.
AT_ONCE = 1.5  # seconds


class Child:
    def __init__(self, worker_id: str, process: BaseProcess, board: Blackboard) -> None:
        self.worker_id = worker_id
        self.board = board
        self.killed = False  # by its supervisor
        self._process = process
        self._stopping = False
        self._started_at = monotonic()
        self._end_by = math.inf  # when it must have ended
        self._overdue: set[str] = set()  # jobs that are far past their time limit

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def is_leaving(self) -> bool:
        """Will it end soon? Then another may take its place."""
        return self._stopping or self.board.is_leaving

    @property
    def has_proved_itself(self) -> bool:
        """Has it ended a job, or lived for a while?"""
        return self.board.has_worked or self.board.turned_at - self._started_at > HEALTHY

    @property
    def has_been_replaced(self) -> bool:
        """Did it end by itself because another one was to take its place?"""
        return self.board.has_ended and self.board.is_leaving

    @property
    def exit_code(self) -> int:
        """As it goes into the worker's own: a crash is 1, and to be killed at a stop is a grace that was over."""
        if self.killed:
            return GRACE_EXPIRED
        return (self._process.exitcode or 0) if self.board.has_ended else 1

    @property
    def cause(self) -> str:
        code = self._process.exitcode or 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def send(self, number: int) -> None:
        if self.pid and self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, grace: float, *, now: bool = False) -> None:
        """Finish what runs within the grace; ``now``: give it back."""
        self._stopping = True
        self._end_by = monotonic() + (AT_ONCE if now else grace + FROZEN)
        self.send(signal.SIGQUIT if now else signal.SIGTERM)

    def frozen(self, now: float, grace: float, patience: float) -> str:
        """Why it must be killed, as the end of a sentence; "" while it goes on by itself.

        A call that holds the interpreter keeps even the loop of its process from running. ``patience``: seconds for
        which its loop may wait for the answer of a broker, and look at no time limit.
        """
        if self.killed:
            return ""
        waits_for_broker = 0 < now - self.board.asks_since < patience + FROZEN
        self._overdue = {job_id for job_id, late in self.board.overdue(now).items() if late > FROZEN}
        if self.board.is_leaving and self._end_by is math.inf:
            self._end_by = now + grace + FROZEN
        if now > self._end_by and not (self._only_waits(now) or (waits_for_broker and not self._stopping)):
            return "has not ended in time"
        if self._overdue and not (self.board.is_leaving or waits_for_broker):
            return "does not answer, and a job in it is past its time limit"
        return ""

    def _only_waits(self, now: float) -> bool:
        """Is it to be replaced, and has all that ran here ended? Then it waits for a broker that is away."""
        return not self._stopping and now - self.board.turned_at < FROZEN and not self.board.begun()

    def kill(self) -> None:
        self.killed = True
        self.send(signal.SIGKILL)

    def death(self) -> Death:
        """What is to be known of its end, for those who rescue its jobs."""
        return Death(
            cause=self.cause,
            begun=self.board.begun(),
            over=self.board.over(),
            is_ours=self.killed,
            overdue=frozenset(self._overdue),
        )

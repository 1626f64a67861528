"""One worker process, as its supervisor sees it."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from multiprocessing.process import BaseProcess
from time import monotonic

from .blackboard import Blackboard
from .interpreter import wakes_of, was_waiting
from .loop import GRACE_EXPIRED
from .offspring import end_all, offspring_of
from .rescue import Death

# How long after a time limit, or the grace of a stop, a process counts as frozen: a healthy one acts long before.
FROZEN = 5.0  # seconds
LOOK_AGAIN = 0.5  # seconds between two looks at the threads of one that is frozen
STILL = 2.0  # seconds; a loop that has not turned for longer cannot run
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
        self._overdue: set[str] = set()  # jobs that are far past their time limit, and to blame for it
        # When it was looked at how often threads wake up, and what was seen, by job id.
        self._looked_at, self._wakes = 0.0, dict[str, int | None]()

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
    def was_struck_down(self) -> bool:
        """Did it die by a job, or by another hand? Not by an error of its own, which would only come again."""
        own_error = (self._process.exitcode or 0) == 1 and not (self.board.begun() or self.board.over())
        return not self.board.has_ended and self.board.has_served and not own_error

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
        late = {job_id for job_id, seconds in self.board.overdue(now).items() if seconds > FROZEN}
        is_still = now - self.board.turned_at > STILL
        if not is_still:
            self._overdue, self._wakes = set(), {}  # it sees to them itself, and knows what was made good to them
        elif late and now - self._looked_at >= LOOK_AGAIN:
            self._overdue = self._to_blame(late, now)
        if self.board.is_leaving and self._end_by is math.inf:
            self._end_by = now + grace + FROZEN
        if now > self._end_by and not (self._only_waits(now) or (waits_for_broker and not self._stopping)):
            return "has not ended in time"
        if is_still and self._overdue and not (self.board.is_leaving or waits_for_broker):
            return "does not answer, and a job in it is past its time limit"
        return ""

    def _to_blame(self, late: Collection[str], now: float) -> set[str]:
        """Those that have not been waiting for the interpreter since the last look; none by the first one."""
        threads, before, seconds = self.board.threads(), self._wakes, now - self._looked_at
        self._looked_at, self._wakes = now, {job_id: wakes_of(threads.get(job_id, 0), self.pid) for job_id in late}
        seen = [job_id for job_id in late if job_id in before]
        if len(threads) == 1:
            return set(seen)  # nobody else could hold it
        return {id_ for id_ in seen if was_waiting(before[id_], self._wakes[id_], seconds) is not True}

    def _only_waits(self, now: float) -> bool:
        """Is it to be replaced, and has all that ran here ended? Then it waits for a broker that is away."""
        return not self._stopping and now - self.board.turned_at < FROZEN and not self.board.begun()

    def kill(self) -> None:
        """And with it what its runs have started: else that went on beside their next runs."""
        self.killed = True
        started = offspring_of(self.pid) if self.pid and self.is_alive else []
        self.send(signal.SIGKILL)
        end_all(started)

    def death(self) -> Death:
        """What is to be known of its end, for those who rescue its jobs."""
        return Death(
            cause=self.cause,
            begun=self.board.begun(),
            over=self.board.over(),
            is_ours=self.killed,
            overdue=frozenset(self._overdue),
        )

"""Ends runs from outside: 1. past their time limit · 2. cancelled by somebody · 3. says which do not come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from ..jobs import Claim
from ..registry import registry
from ..sleeper import Sleeper
from .interpreter import HELD_UP, wakes_of, was_waiting
from .reach import Reach
from .seats import Reason, Seat

# How often to ask whether a running job was cancelled, once one has been running for as long.
ASK_AGAIN = 0.5  # seconds
# A task that takes its context may look whether it is cancelled: it has so long to end by itself.
COURTESY = 0.5
# So long after its interrupt a run that is still there is taken for one that does not come back: C code, a sleep,
# a driver that waits, or a task that catches BaseException.
PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Stuck:
    claim: Claim
    began: float
    reason: Reason


class Deadlines:
    """Loop thread only; but any thread may set ``next_at`` to 0, when a job with a time limit begins."""

    def __init__(
        self,
        reach: Reach,
        worker_id: str,
        running: Callable[[], Iterable[tuple[Seat, Claim]]],
        sleeper: Sleeper,
    ) -> None:
        """``sleeper``: in which the loop sleeps."""
        self._reach = reach
        self._sleeper = sleeper
        self._turned_at, self._paused = monotonic(), 0.0
        self._made_good: dict[str, float] = {}  # by job id, seconds for which it was kept from running
        self._worker_id = worker_id
        self._running = running
        self._ask_at = 0.0
        self._cancel_at: dict[str, float] = {}  # by job id
        self.next_at = 0.0  # when ``check`` should be called next (monotonic)
        self.stuck: dict[str, Stuck] = {}  # by job id

    def turned(self) -> None:
        """The loop is here again. A run that was kept waiting for the interpreter meanwhile gets that time back."""
        before, paused = self._turned_at, self._paused
        self._turned_at, self._paused = monotonic(), self._sleeper.slept + self._reach.waited
        held_up = self._turned_at - before - (self._paused - paused)
        if held_up < HELD_UP:
            return
        running = [(seat, claim.job.id) for seat, claim in self._running() if seat.deadline is not math.inf]
        self._made_good = {id_: self._made_good.get(id_, 0.0) for _, id_ in running}
        for seat, id_ in running:
            if was_waiting(seat.wakes, wakes_of(seat.thread), held_up) is not False:
                self._made_good[id_] += min(held_up, self._turned_at - seat.began)

    def check(self) -> None:
        now = monotonic()
        if now < self.next_at:
            return
        next_at = now + ASK_AGAIN
        self.next_at = math.inf  # before the look: what begins meanwhile sets it to 0
        asks = False
        for seat, claim in self._running():
            if seat.deadline is not math.inf:
                seat.wakes = wakes_of(seat.thread)  # from here on, because it may have waited for much else before
            next_at = min(next_at, self._check(seat, claim, now))
            asks = asks or now - seat.began >= ASK_AGAIN
        self.next_at = min(self.next_at, next_at)
        if asks and now >= self._ask_at:
            self._ask_at = now + ASK_AGAIN
            self._note_cancelled(now)

    def _check(self, seat: Seat, claim: Claim, now: float) -> float:
        """Look at one run; returns when to look again."""
        made_good = self._made_good.get(claim.job.id, 0.0)
        deadline = seat.deadline + made_good
        if seat.asked_at is not math.inf:
            if now >= seat.asked_at + made_good + PATIENCE and seat.reason is not None and seat.claim is claim:
                self.stuck[claim.job.id] = Stuck(claim, seat.began, seat.reason)
            return max(now, seat.asked_at) + PATIENCE
        cancel_at = self._cancel_at.get(claim.job.id, math.inf) if seat.is_cancelled else math.inf
        if now < deadline and now < cancel_at:
            return min(deadline, cancel_at)
        seat.interrupt(claim, "timeout" if now >= deadline else "cancel")
        self._made_good.pop(claim.job.id, None)  # what it is kept waiting from now on is added to its patience
        return now + PATIENCE

    def _note_cancelled(self, now: float) -> None:
        asked: set[str] = set()
        for broker in self._reach.here():
            with self._reach.guard(broker):
                asked |= broker.cancelled(self._worker_id)
        running = {claim.job.id for _, claim in self._running()}
        self._cancel_at = {id_: at for id_, at in self._cancel_at.items() if id_ in running}
        for seat, claim in self._running():
            id_ = claim.job.id
            if id_ in asked and id_ not in self._cancel_at:
                task = registry.get(claim.job.task_path)
                self._cancel_at[id_] = now + (COURTESY if task is not None and task.takes_context else 0.0)
                seat.is_cancelled = True
                self.next_at = min(self.next_at, self._cancel_at[id_])

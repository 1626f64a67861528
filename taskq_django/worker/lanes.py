"""The two ways of running claims beside the loop: sync tasks in threads, coroutines on one event loop in a thread."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic

from .. import compat
from ..jobs import Claim, Outcome, Returned
from . import connections
from .blackboard import Blackboard
from .executor import Executor
from .slots import CoroutineSlot, Slot, ThreadSlot

Done = Callable[[Outcome], None]

_forks = 0  # on the way to this process; os.getpid() would be a system call for each job


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the lanes of a pool are given."""

    executor: Executor
    done: Done
    board: Blackboard
    may_begin: Callable[[], bool] = lambda: True  # asked before each job
    limited: Callable[[], None] = lambda: None  # told that a job with a time limit begins


class Lane(ABC):
    """One way to run claims, with a number of slots. Only the loop thread calls it."""

    def __init__(self, places: Sequence[Slot], given: Surroundings) -> None:
        self.places = places
        self.slots = len(places)
        self._given = given
        self._forks = _forks
        # When a job last began, or the first one of those that wait was given: written by both sides.
        self.begun_at = monotonic()

    def submit(self, claims: Sequence[Claim]) -> None:
        if self.waiting() == 0:
            self.begun_at = monotonic()
        self._take(claims)

    @abstractmethod
    def _take(self, claims: Sequence[Claim]) -> None: ...

    @abstractmethod
    def withdraw(self) -> list[Claim]:
        """Take back what has not begun."""

    @abstractmethod
    def waiting(self) -> int:
        """How many have not begun."""

    @abstractmethod
    def close(self) -> None:
        """No more will come; what runs may end."""

    def _refuse_copies(self) -> None:
        """A task that has forked and returned in the copy too must not end its job twice."""
        if _forks != self._forks:
            os._exit(0)


class Threads(Lane):
    def __init__(self, slots: int, given: Surroundings) -> None:
        places = [ThreadSlot(number, given.board, given.limited) for number in range(slots)]
        super().__init__(places, given)
        self._queue: SimpleQueue[Claim | None] = SimpleQueue()
        for slot in places:
            # Daemons: a task that never ends must not keep the process from ending when its grace is over.
            threading.Thread(target=self._work, args=[slot], name=f"taskq-{slot.number + 1}", daemon=True).start()

    def _take(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._queue.put(claim)

    def withdraw(self) -> list[Claim]:
        taken = []
        try:
            while claim := self._queue.get_nowait():
                taken.append(claim)
        except Empty:
            pass
        return taken

    def waiting(self) -> int:
        return self._queue.qsize()

    def close(self) -> None:
        for _ in range(self.slots):
            self._queue.put(None)

    def _work(self, slot: ThreadSlot) -> None:
        slot.ident = threading.get_ident()
        given = self._given
        # django.tasks keeps its backends in context variables: made here they are found in every job's copy of this
        # context, made in a job they would be made again for the next.
        for alias in compat.task_backends:
            _ = compat.task_backends[alias]
        last_used = monotonic()
        while (claim := self._queue.get()) is not None:
            self.begun_at = monotonic()
            if not given.may_begin():
                given.done(Returned(claim, began=False))
                continue
            connections.before_job(last_used)
            slot.begin(claim)
            # A context of its own: a language or time zone that one task activates ends with it.
            outcome = contextvars.copy_context().run(given.executor.run, claim, slot)
            self._refuse_copies()
            if slot.reason:
                connections.close_hard()
            connections.after_job(claim.job.task_path, claim.job.id)
            last_used = monotonic()
            slot.end()  # first: a process that dies in between must not blame a job that has ended
            given.done(outcome)
        connections.close()


class Coroutines(Lane):
    def __init__(self, slots: int, first: int, given: Surroundings) -> None:
        """``first``: the number of its first slot."""
        places = [CoroutineSlot(number, given.board, given.limited) for number in range(first, first + slots)]
        super().__init__(places, given)
        self._backlog: deque[Claim] = deque()  # the loop appends, the event loop takes
        self._free = deque(places)  # event loop's thread only
        self._event_loop = asyncio.new_event_loop()
        threading.Thread(target=self._event_loop.run_forever, name="taskq-coroutines", daemon=True).start()

    def _take(self, claims: Sequence[Claim]) -> None:
        self._backlog.extend(claims)
        self._event_loop.call_soon_threadsafe(self._begin)

    def withdraw(self) -> list[Claim]:
        taken = []
        try:
            while True:
                taken.append(self._backlog.popleft())
        except IndexError:
            return taken

    def waiting(self) -> int:
        return len(self._backlog)

    def close(self) -> None:
        self._event_loop.call_soon_threadsafe(self._event_loop.stop)

    def _begin(self) -> None:
        while self._free:
            try:
                claim = self._backlog.popleft()
            except IndexError:
                return
            self.begun_at = monotonic()
            if not self._given.may_begin():
                self._given.done(Returned(claim, began=False))
                continue
            slot = self._free.popleft()
            slot.event_loop, slot.ident = self._event_loop, threading.get_ident()
            slot.begin(claim)
            slot.running = self._event_loop.create_task(self._run(claim, slot))

    async def _run(self, claim: Claim, slot: CoroutineSlot) -> None:
        try:
            outcome = await self._given.executor.arun(claim, slot)
            self._refuse_copies()
        finally:
            slot.end()
            self._free.append(slot)
        self._given.done(outcome)
        self._begin()

"""Runs claims beside the loop: sync tasks in threads, coroutines on one event loop in a thread.

Two queues are all that the loop and the pool share: claims go in by ``submit``, outcomes come out through ``done``.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic

from asgiref.sync import async_to_sync

from .. import compat
from ..jobs import Claim, Outcome, Returned
from . import connections
from .blackboard import Blackboard
from .executor import Executor
from .slots import CoroutineSlot, Slot, ThreadSlot

Done = Callable[[Outcome], None]


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
        self._pid = os.getpid()
        self.begun_at = monotonic()  # when a job last began; written by the pool, read by the loop

    @abstractmethod
    def submit(self, claims: Sequence[Claim]) -> None: ...

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
        if os.getpid() != self._pid:
            os._exit(0)


class Threads(Lane):
    def __init__(self, slots: int, given: Surroundings) -> None:
        places = [ThreadSlot(number, given.board, given.limited) for number in range(slots)]
        super().__init__(places, given)
        self._queue: SimpleQueue[Claim | None] = SimpleQueue()
        for slot in places:
            # Daemons: a task that never ends must not keep the process from ending when its grace is over.
            threading.Thread(target=self._work, args=[slot], name=f"taskq-{slot.number + 1}", daemon=True).start()

    def submit(self, claims: Sequence[Claim]) -> None:
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

    def submit(self, claims: Sequence[Claim]) -> None:
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
            slot.event_loop = self._event_loop
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


class Pool(ABC):
    """What the loop asks of a pool. Only the loop thread calls it."""

    # May it be given more than it has slots?
    has_backlog = True

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many jobs it can run at a time, of the kind that came lately."""

    @abstractmethod
    def submit(self, claims: Sequence[Claim]) -> None: ...

    @abstractmethod
    def waiting(self) -> int:
        """How many claims have not begun."""

    @abstractmethod
    def withdraw(self, stalled: float = 0.0) -> list[Claim]:
        """Take back what has not begun, where no slot has come free for ``stalled`` seconds."""

    @abstractmethod
    def running(self) -> Iterator[tuple[Slot, Claim]]:
        """What is being run, and where."""

    @abstractmethod
    def close(self) -> None: ...


class LanePool(Pool):
    """A lane of threads for sync tasks and a lane of coroutines, which is opened when the first one comes."""

    def __init__(self, given: Surroundings, threads: int, coroutines: int) -> None:
        self._given = given
        self._coroutine_slots = coroutines
        self._threads = Threads(threads, given)
        self._coroutines: Coroutines | None = None
        self._share_async = 0.0  # of the claims seen lately

    @property
    def _lanes(self) -> list[Lane]:
        return [self._threads] if self._coroutines is None else [self._threads, self._coroutines]

    def submit(self, claims: Sequence[Claim]) -> None:
        is_async = self._given.executor.is_async
        coroutines = [claim for claim in claims if is_async(claim)]
        self._share_async += (len(coroutines) / len(claims) - self._share_async) * 0.5
        if not coroutines:
            self._threads.submit(claims)
            return
        if self._coroutines is None:
            self._coroutines = Coroutines(self._coroutine_slots, self._threads.slots, self._given)
        self._coroutines.submit(coroutines)
        if len(coroutines) < len(claims):
            self._threads.submit([claim for claim in claims if not is_async(claim)])

    @property
    def slots(self) -> int:
        # The store cannot be asked for one kind of task, so what comes is taken to be mixed as it was lately.
        threads, share = self._threads.slots, self._share_async
        return round(threads * (1 - share) + self._coroutine_slots * share)

    def waiting(self) -> int:
        return sum(lane.waiting() for lane in self._lanes)

    def withdraw(self, stalled: float = 0.0) -> list[Claim]:
        then = monotonic() - stalled
        return [claim for lane in self._lanes if lane.begun_at <= then for claim in lane.withdraw()]

    def running(self) -> Iterator[tuple[Slot, Claim]]:
        for lane in self._lanes:
            for slot in lane.places:
                if (claim := slot.claim) is not None:
                    yield slot, claim

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()


class InlinePool(Pool):
    """Runs each claim where it is submitted: for tests, which see through their own connection only."""

    has_backlog = False  # one at a time: a job may enqueue one of higher priority
    slots = 1

    def __init__(self, given: Surroundings) -> None:
        self._given = given
        self._slot = Slot(0, given.board)

    def submit(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            executor = self._given.executor
            self._slot.begin(claim)
            if executor.is_async(claim):
                outcome = async_to_sync(executor.arun)(claim, self._slot)
            else:
                outcome = contextvars.copy_context().run(executor.run, claim, self._slot)
            self._slot.end()
            self._given.done(outcome)

    def waiting(self) -> int:
        return 0

    def withdraw(self, stalled: float = 0.0) -> list[Claim]:
        return []

    def running(self) -> Iterator[tuple[Slot, Claim]]:
        return iter(())

    def close(self) -> None:
        pass

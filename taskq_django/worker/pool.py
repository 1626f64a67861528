"""Runs claims beside the loop: sync tasks in threads, coroutines on one event loop in a thread.

Two queues are all that the loop and the pool share: claims go in by ``submit``, outcomes come out through ``done``.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic

from asgiref.sync import async_to_sync

from .. import compat
from ..jobs import Claim, Outcome
from . import connections
from .executor import Executor

Done = Callable[[Outcome], None]


class Lane(ABC):
    """One way to run claims, with a number of slots. Only the loop thread calls it."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
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


class Threads(Lane):
    def __init__(self, slots: int, executor: Executor, done: Done) -> None:
        super().__init__(slots)
        self._queue: SimpleQueue[Claim | None] = SimpleQueue()
        self._executor = executor
        self._done = done
        for number in range(slots):
            # Daemons: a task that never ends must not keep the process from ending when its grace is over.
            threading.Thread(target=self._work, name=f"taskq-{number + 1}", daemon=True).start()

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

    def _work(self) -> None:
        # django.tasks keeps its backends in context variables: made here they are found in every job's copy of this
        # context, made in a job they would be made again for the next.
        for alias in compat.task_backends:
            _ = compat.task_backends[alias]
        last_used = monotonic()
        while (claim := self._queue.get()) is not None:
            self.begun_at = monotonic()
            connections.before_job(last_used)
            # A context of its own: a language or time zone that one task activates ends with it.
            outcome = contextvars.copy_context().run(self._executor.run, claim)
            connections.after_job(claim.job.task_path, claim.job.id)
            last_used = monotonic()
            self._done(outcome)
        connections.close()


class Coroutines(Lane):
    def __init__(self, slots: int, executor: Executor, done: Done) -> None:
        super().__init__(slots)
        self._backlog: deque[Claim] = deque()  # the loop appends, the event loop takes
        self._running: set[asyncio.Task[None]] = set()  # event loop's thread only
        self._executor = executor
        self._done = done
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
        while len(self._running) < self.slots:
            try:
                claim = self._backlog.popleft()
            except IndexError:
                return
            self.begun_at = monotonic()
            running = self._event_loop.create_task(self._run(claim))
            self._running.add(running)
            running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._begin()

    async def _run(self, claim: Claim) -> None:
        self._done(await self._executor.arun(claim))


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
    def close(self) -> None: ...


class LanePool(Pool):
    """A lane of threads for sync tasks and a lane of coroutines, which is opened when the first one comes."""

    def __init__(self, executor: Executor, done: Done, threads: int, coroutines: int) -> None:
        self._executor = executor
        self._done = done
        self._coroutine_slots = coroutines
        self._threads = Threads(threads, executor, done)
        self._coroutines: Coroutines | None = None
        self._share_async = 0.0  # of the claims seen lately

    @property
    def _lanes(self) -> list[Lane]:
        return [self._threads] if self._coroutines is None else [self._threads, self._coroutines]

    def submit(self, claims: Sequence[Claim]) -> None:
        is_async = self._executor.is_async
        coroutines = [claim for claim in claims if is_async(claim)]
        self._share_async += (len(coroutines) / len(claims) - self._share_async) * 0.5
        if not coroutines:
            self._threads.submit(claims)
            return
        if self._coroutines is None:
            self._coroutines = Coroutines(self._coroutine_slots, self._executor, self._done)
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

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()


class InlinePool(Pool):
    """Runs each claim where it is submitted: for tests, which see through their own connection only."""

    has_backlog = False  # one at a time: a job may enqueue one of higher priority
    slots = 1

    def __init__(self, executor: Executor, done: Done) -> None:
        self._executor = executor
        self._done = done

    def submit(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if self._executor.is_async(claim):
                outcome = async_to_sync(self._executor.arun)(claim)
            else:
                outcome = contextvars.copy_context().run(self._executor.run, claim)
            self._done(outcome)

    def waiting(self) -> int:
        return 0

    def withdraw(self, stalled: float = 0.0) -> list[Claim]:
        return []

    def close(self) -> None:
        pass

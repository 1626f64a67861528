"""The two ways of running claims beside the loop: sync tasks in threads, coroutines on one event loop in a thread."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic

from asgiref.sync import AsyncToSync

from .. import compat
from ..jobs import Claim, Failed, Outcome, Released
from . import connections
from .blackboard import Blackboard
from .executor import Executor
from .failures import failure_of
from .seats import CoroutineSeat, Seat, ThreadSeat

logger = logging.getLogger("taskq_django.worker")

_forks = 0  # how many forks led to this process; to ask os.getpid() would be a system call for each job


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the runners of a pool are given."""

    executor: Executor
    done: Callable[[Outcome], None]
    board: Blackboard
    again: Callable[[Claim], None]  # takes back a claim that has not begun, for it is a coroutine
    may_begin: Callable[[str], bool] = lambda alias: True  # asked before each job of that backend
    limited: Callable[[], None] = lambda: None  # told that a job with a time limit begins


class Runner(ABC):
    """One way to run claims, with a number of seats. Only the loop thread calls it."""

    def __init__(self, seats: Sequence[Seat], given: Surroundings) -> None:
        self.seats = seats
        self._given = given
        self._forks = _forks
        self._threads: list[threading.Thread] = []
        # When a job last began, or when the first of those that wait came. Both threads write it.
        self.begun_at = monotonic()

    def submit(self, claims: Sequence[Claim]) -> None:
        if self.waiting() == 0:
            self.begun_at = monotonic()
        self._take(claims)

    @property
    def is_whole(self) -> bool:
        """Do all its threads live? They end at a close only; else jobs would wait for ever."""
        return all(thread.is_alive() for thread in self._threads)

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

    def _start_thread(self, name: str, work: Callable[..., None], *args: object) -> None:
        # Daemons, because a task that never ends must not keep the process alive when its grace is over.
        thread = threading.Thread(target=work, args=args, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _refuse_copies(self) -> None:
        """A task that has forked and returned in the copy too must not end its job twice."""
        if _forks != self._forks:
            os._exit(0)


class Threads(Runner):
    """Sync tasks: each seat is a thread, and all take from one queue."""

    def __init__(self, seats: int, given: Surroundings) -> None:
        places = [ThreadSeat(given.board, given.limited) for _ in range(seats)]
        super().__init__(places, given)
        self._queue: SimpleQueue[Claim | None] = SimpleQueue()
        for number, seat in enumerate(places, 1):
            self._start_thread(f"taskq-{number}", self._serve, seat)

    def _take(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._queue.put(claim)

    def withdraw(self) -> list[Claim]:
        taken = []
        with suppress(Empty):
            while claim := self._queue.get_nowait():
                taken.append(claim)
        return taken

    def waiting(self) -> int:
        return self._queue.qsize()

    def close(self) -> None:
        for _ in self.seats:
            self._queue.put(None)

    def _serve(self, seat: ThreadSeat) -> None:
        seat.ident = threading.get_ident()
        # django.tasks keeps its backends in context variables. They are made here, because every job runs in a copy of
        # this context: what a job makes is lost with its copy.
        for alias in compat.task_backends:
            _ = compat.task_backends[alias]
        while True:
            try:
                self._work(seat)
                break
            except BaseException as error:  # raised into this thread from outside: only the job ends
                logger.exception("A thread of the pool was interrupted; it goes on")
                if (claim := seat.claim) is not None:
                    connections.close_hard()
                    seat.end()
                    self._given.done(Failed(claim, seat.began, monotonic(), failure_of(error)))
        connections.close()

    def _work(self, seat: ThreadSeat) -> None:
        given = self._given
        last_used = monotonic()
        while (claim := self._queue.get()) is not None:
            self.begun_at = monotonic()
            if not given.may_begin(claim.job.backend):
                given.done(Released(claim, began=False))
                continue
            connections.before_job(last_used)
            seat.begin(claim)
            # A context of its own, so that a language or time zone that a task activates ends with it.
            outcome = contextvars.copy_context().run(given.executor.run, claim, seat)
            self._refuse_copies()
            if seat.reason:
                connections.close_hard()
            connections.after_job(claim.job.task_path, claim.job.id)
            last_used = monotonic()
            if outcome is None:
                seat.unbegin(claim)
                given.again(claim)
            else:
                seat.end()
                given.done(outcome)


class Coroutines(Runner):
    """Async tasks: one thread has an event loop, and each seat is a coroutine on it."""

    def __init__(self, seats: int, given: Surroundings) -> None:
        places = [CoroutineSeat(given.board, given.limited) for _ in range(seats)]
        super().__init__(places, given)
        self._backlog: deque[Claim] = deque()  # the loop appends, the event loop takes
        self._free = deque(places)  # event loop's thread only
        self._closing = False
        self._context = contextvars.copy_context()  # what each job starts from
        self._event_loop = asyncio.new_event_loop()
        # The ORM of all coroutines works in the one thread of this executor, by asgiref's rule.
        self.orm = connections.UpkeepExecutor(max_workers=1)
        self._executor = connections.UpkeepExecutor()
        AsyncToSync.loop_thread_executors[self._event_loop] = self.orm  # type: ignore[assignment]
        self._event_loop.set_default_executor(self._executor)
        self._start_thread("taskq-coroutines", self._serve)

    def _take(self, claims: Sequence[Claim]) -> None:
        self._backlog.extend(claims)
        if self.is_whole:
            self._event_loop.call_soon_threadsafe(self._begin)

    def withdraw(self) -> list[Claim]:
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._backlog.popleft())
        return taken

    def waiting(self) -> int:
        return len(self._backlog)

    def close(self) -> None:
        self._closing = True
        AsyncToSync.loop_thread_executors.pop(self._event_loop, None)
        if self.is_whole:
            self._event_loop.call_soon_threadsafe(self._event_loop.stop)
        self.orm.close()
        self._executor.close()

    def _serve(self) -> None:
        """Until closed: a callback that exits, or stops the event loop, must not take the other jobs with it."""
        while not (self._closing or self._event_loop.is_closed()):
            try:
                self._event_loop.run_forever()
            except BaseException:  # SystemExit and KeyboardInterrupt go through asyncio
                logger.exception("What runs beside the coroutines has ended their event loop; it goes on")

    def _begin(self) -> None:
        while self._free:
            try:
                claim = self._backlog.popleft()
            except IndexError:
                return
            self.begun_at = monotonic()
            if not self._given.may_begin(claim.job.backend):
                self._given.done(Released(claim, began=False))
                continue
            seat = self._free.popleft()
            seat.event_loop, seat.ident = self._event_loop, threading.get_ident()
            seat.begin(claim)
            # A context of its own, as in a thread, because this may be called in the context of the job before.
            context = self._context.copy()
            context.run(connections.works_for, claim)
            seat.running = self._event_loop.create_task(self._run(claim, seat), context=context)

    async def _run(self, claim: Claim, seat: CoroutineSeat) -> None:
        try:
            outcome = await self._given.executor.arun(claim, seat)
            self._refuse_copies()
        except BaseException as error:  # an executor that is shut down, say: the job ends all the same
            outcome = Failed(claim, seat.began, monotonic(), failure_of(error))
        seat.end()
        self._free.append(seat)
        self._given.done(outcome)
        self._begin()

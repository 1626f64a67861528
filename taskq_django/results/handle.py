"""Result, the handle of a job."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from asgiref.sync import sync_to_async
from django.db import connections

from .. import compat, control
from ..brokers import Broker
from ..brokers.waiting import Waiting
from ..compat import TASK_REFRESH_ATTRS, TaskResultDoesNotExist
from ..exceptions import BrokerUnavailable, ResultError, ResultTimeout, TaskFailed, has_twin, one_line
from ..jobs import Progress
from ..states import State
from ..status import workers_in
from ..store.connections import OUTAGE, ask, in_transaction
from ..store.progress import read_progress

R = TypeVar("R")

IN_TESTS = "In a test, call taskq_django.testing.run_all() before."
REFRESHED = (*TASK_REFRESH_ATTRS, "state", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(compat.TaskResult, Generic[R]):  # type: ignore[type-arg,misc]
    """The handle of one job: what ``enqueue`` returns and ``get_result`` finds.

    A snapshot; ``refresh`` brings it up to date. ``status`` is one of the four words of django.tasks, ``state`` is
    exact. Every method that reads the store has an async twin.
    """

    state: State
    reason: str = ""  # of a job that was cancelled or failed: the message
    metadata: Mapping[str, Any] = field(default_factory=dict)
    # None: not read.
    _progress: tuple[Progress | None] | None = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Unlike the framework's, keeps the arguments as they are: ours need not be plain JSON."""

    @property
    @has_twin
    def progress(self) -> Progress | None:
        """How far the task has said that it is; None: it has said nothing.

        Read by one query when it is first asked for, and anew after ``refresh``.
        """
        if self._progress is None:
            database = self._database()
            found = ask(database, lambda: read_progress([self.id], database))
            object.__setattr__(self, "_progress", (found.get(self.id),))
        return self._progress[0]  # type: ignore[index]

    async def aprogress(self) -> Progress | None:
        return await sync_to_async(lambda: self.progress)()

    if TYPE_CHECKING:

        @property
        def return_value(self) -> R:
            """Raises ValueError unless the job has succeeded. It is the framework's."""
            raise NotImplementedError

    def __repr__(self) -> str:
        return f"<Result {self.task.module_path}[{self.id}] {self.state}>"

    @has_twin
    def refresh(self) -> None:
        """Read the job anew, by one query (two for a job that has failed before).

        Where its broker cannot look for jobs that wait, one that is found nowhere stays READY.
        """
        try:
            self._take_over(self.task.get_backend().get_result(self.id))
        except TaskResultDoesNotExist:
            if self.state is not State.READY or self._broker().finds_waiting:
                raise

    async def arefresh(self) -> None:
        await sync_to_async(self.refresh)()

    @has_twin
    def get(self, timeout: float | timedelta | None = None) -> R:
        """Wait for the end of the job and return what the task returned.

        Waits at most ``timeout``, in seconds or a timedelta (None: for ever). Raises ResultTimeout, at once inside a
        transaction (where the end of the job could not be seen), and TaskFailed when the job ended otherwise.
        """
        woken = threading.Event()
        with Waiting([(self._broker(), self.id)], timeout, woken.set) as waiting:
            while pause := self._look(waiting):
                woken.wait(pause)
                woken.clear()
        return self._value_or_raise()

    async def aget(self, timeout: float | timedelta | None = None) -> R:
        woken, loop = asyncio.Event(), asyncio.get_running_loop()
        with Waiting([(self._broker(), self.id)], timeout, lambda: loop.call_soon_threadsafe(woken.set)) as waiting:
            while pause := await sync_to_async(self._look)(waiting):
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), pause)
                woken.clear()
        return self._value_or_raise()

    @has_twin
    def cancel(self, reason: str = "") -> bool:
        """End the job as CANCELLED: at once while it waits, within seconds while it runs. False: it had ended.

        A running task is interrupted; one that takes its context may see it coming by ``context.is_cancelled``.
        """
        done = control.cancel([self.id], self._broker(), reason=reason)
        self.refresh()  # raises for a job that is unknown
        return bool(done.ended or done.asked)

    async def acancel(self, reason: str = "") -> bool:
        return await sync_to_async(self.cancel)(reason)

    @has_twin
    def retry(self) -> None:
        """Run the job again, which has ended without success. It keeps its id and the story of its attempts.

        Raises ResultError for one that has succeeded or has not ended.
        """
        if not control.retry([self.id], self._broker()):
            self.refresh()
            remedy = "it can be run again by a new enqueue" if self.state is State.SUCCESSFUL else "it has not ended"
            raise ResultError(f"{self!r} cannot be retried: {remedy}.")
        self.refresh()

    async def aretry(self) -> None:
        await sync_to_async(self.retry)()

    def _broker(self) -> Broker:
        return cast("Broker", self.task.get_backend().broker)  # type: ignore[attr-defined]

    def _database(self) -> str:
        return self._broker().database

    def _look(self, waiting: Waiting) -> float | None:
        """Seconds until the next look; None: the job has ended. Raises ResultTimeout."""
        away = ""
        try:
            self.refresh()
        except BrokerUnavailable as error:  # its end is written into the store all the same
            away = f" Its broker does not answer: {one_line(error)}"
        if self.state.is_final:
            return None
        if in_transaction(connections[self._database()]):
            raise ResultTimeout(
                f"{self!r} is waited for inside a transaction, where its end cannot be seen: "
                f"call get() after the atomic block. {IN_TESTS}"
            )
        if (pause := waiting.pause()) is None:
            raise ResultTimeout(f"{self!r} has not ended after {waiting.timeout:g} s.{away}{self._why_not()}")
        return pause

    def _why_not(self) -> str:
        """What those forget who try it for the first time."""
        with suppress(*OUTAGE):
            if not any(worker.alive for worker in workers_in(self._database())):
                return f" No worker is alive: start one with `manage.py taskq_worker`. {IN_TESTS}"
        return ""

    def _value_or_raise(self) -> R:
        if self.state is State.SUCCESSFUL:
            return cast("R", self._return_value)  # type: ignore[attr-defined]
        kind = f": {self.errors[-1].exception_class_path.removeprefix('builtins.')}" if self.errors else ""
        reason = f": {self.reason}" if self.reason else ""
        raise TaskFailed(f"{self.task.module_path}[{self.id}] ended as {self.state}{kind}{reason}", self)

    def _take_over(self, fresh: compat.AnyResult) -> None:
        for name in REFRESHED:
            object.__setattr__(self, name, getattr(fresh, name))
        object.__setattr__(self, "_progress", None)


class StoredError(compat.TaskError):
    """How an attempt failed."""

    __slots__ = ()

    @property
    def exception_class(self) -> type[BaseException]:
        """Of a module that is imported here already: a stored path must not choose what is imported, and so run.

        Raises ImportError where it is not, ValueError for what is no exception.
        """
        path = self.exception_class_path
        if path.rpartition(".")[0] not in sys.modules:
            raise ImportError(f"The module of {path!r} is not imported in this process: import it where you need it.")
        return super().exception_class

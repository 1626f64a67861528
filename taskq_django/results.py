"""Result, the handle of a job, and the context of a task that runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from asgiref.sync import sync_to_async
from django.db import connections

from . import compat, control
from .brokers import Broker
from .brokers.waiting import Waiting
from .compat import TASK_REFRESH_ATTRS, TaskResultDoesNotExist
from .exceptions import BrokerUnavailable, ResultError, ResultTimeout, TaskFailed, one_line
from .jobs import headers_of
from .states import State
from .store.connections import in_transaction

R = TypeVar("R")

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

    def __post_init__(self) -> None:
        """Unlike the framework's, keeps the arguments as they are: ours need not be plain JSON."""

    def __repr__(self) -> str:
        return f"<Result {self.task.module_path}[{self.id}] {self.state}>"

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

    def get(self, timeout: float | None = None) -> R:
        """Wait for the end of the job and return what the task returned.

        Waits at most ``timeout`` seconds (None: for ever). Raises ResultTimeout, at once inside a transaction
        (where the end of the job could not be seen), and TaskFailed when the job ended otherwise.
        """
        woken = threading.Event()
        with Waiting(self._broker(), self.id, timeout, woken.set) as waiting:
            while pause := self._look(waiting):
                woken.wait(pause)
                woken.clear()
        return self._value_or_raise()

    async def aget(self, timeout: float | None = None) -> R:
        woken, loop = asyncio.Event(), asyncio.get_running_loop()
        with Waiting(self._broker(), self.id, timeout, lambda: loop.call_soon_threadsafe(woken.set)) as waiting:
            while pause := await sync_to_async(self._look)(waiting):
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), pause)
                woken.clear()
        return self._value_or_raise()

    def cancel(self, reason: str = "") -> bool:
        """End the job as CANCELLED: at once while it waits, within seconds while it runs. False: it had ended.

        A running task is interrupted; one that takes its context may see it coming by ``context.is_cancelled``.
        """
        done = control.cancel([self.id], self._broker(), reason=reason)
        self.refresh()  # raises for a job that is unknown
        return bool(done.ended or done.asked)

    async def acancel(self, reason: str = "") -> bool:
        return await sync_to_async(self.cancel)(reason)

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
                "call get() after the atomic block."
            )
        if (pause := waiting.pause()) is None:
            raise ResultTimeout(f"{self!r} has not ended after {waiting.timeout} s.{away}")
        return pause

    def _value_or_raise(self) -> R:
        if self.state is State.SUCCESSFUL:
            return cast("R", self._return_value)  # type: ignore[attr-defined]
        kind = f": {self.errors[-1].exception_class_path.removeprefix('builtins.')}" if self.errors else ""
        reason = f": {self.reason}" if self.reason else ""
        raise TaskFailed(f"{self.task.module_path}[{self.id}] ended as {self.state}{kind}{reason}", self)

    def _take_over(self, fresh: compat.AnyResult) -> None:
        for name in REFRESHED:
            object.__setattr__(self, name, getattr(fresh, name))


class TaskContext(compat.TaskContext):  # type: ignore[type-arg]
    """What a task with ``takes_context=True`` gets first."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        return cast("Result[Any]", self.task_result).metadata

    @property
    def slot(self) -> datetime | None:
        """The moment for which a schedule has enqueued this job (aware, UTC), however late it runs; None without one.

        By it, and not by the clock, a nightly job should choose the day that it works for.
        """
        running: Any = getattr(self, "_seat", None)  # the worker's, of this run
        try:
            return datetime.fromisoformat(headers_of(running.claim.job.headers)["schedule"]["slot"])  # type: ignore[index]
        except (AttributeError, ValueError, KeyError, TypeError):
            return None

    @property
    def is_cancelled(self) -> bool:
        """Somebody has asked to cancel this job: end soon, best by ``raise Discard``.

        Half a second later it is ended.
        """
        seat = getattr(self, "_seat", None)  # the worker's, of this run
        return bool(seat and seat.is_cancelled)

    @cached_property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry the job's id, task and attempt in ``extra``."""
        result = self.task_result
        facts = {"job_id": result.id, "task": result.task.module_path, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger("taskq_django.task"), facts)

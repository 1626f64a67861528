"""Result, the handle of a job; and how one is made from what is stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

import orjson
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.utils import timezone

from . import codec, compat, control
from .brokers.base import Broker
from .compat import TASK_REFRESH_ATTRS, TaskError, TaskResultStatus
from .exceptions import PayloadError, ResultError, ResultTimeout, TaskFailed, TaskNotFound
from .jobs import Claim, Job
from .models import JobResult
from .models.story import Story, read_stories
from .registry import registry
from .states import FRAMEWORK_STATUS, State
from .tasks import Task

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
        """Read the job anew, by one query (two for a job that has failed before)."""
        self._take_over(self.task.get_backend().get_result(self.id))

    async def arefresh(self) -> None:
        self._take_over(await self.task.get_backend().aget_result(self.id))

    def get(self, timeout: float | None = None) -> R:
        """Wait for the end of the job and return what the task returned.

        Waits at most ``timeout`` seconds (None: for ever). Raises ResultTimeout, at once inside a transaction
        (where the end of the job could not be seen), and TaskFailed when the job ended otherwise.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.002
        while True:
            self.refresh()
            if self.state.is_final:
                return self._value_or_raise()
            if connections[self._database()].in_atomic_block:
                raise ResultTimeout(
                    f"{self!r} is waited for inside a transaction, where its end cannot be seen: "
                    "call get() after the atomic block."
                )
            self._sleep_allowed(deadline, timeout)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    async def aget(self, timeout: float | None = None) -> R:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.002
        while True:
            await self.arefresh()
            if self.state.is_final:
                return self._value_or_raise()
            if await sync_to_async(lambda: connections[self._database()].in_atomic_block)():
                raise ResultTimeout(f"{self!r} is waited for inside a transaction, where its end cannot be seen.")
            self._sleep_allowed(deadline, timeout)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def cancel(self, reason: str = "") -> bool:
        """End the job as CANCELLED: at once while it waits, within seconds while it runs. False: it had ended.

        A running task is interrupted; one that takes its context may see it coming by ``context.is_cancelled``.
        """
        done = control.cancel([self.id], self._database(), reason=reason)
        self.refresh()  # raises for a job that is unknown
        return bool(done.ended or done.asked)

    async def acancel(self, reason: str = "") -> bool:
        return await sync_to_async(self.cancel)(reason)

    def retry(self) -> None:
        """Run the job again, which has ended without success. It keeps its id and the story of its attempts.

        Raises ResultError for one that has succeeded or has not ended.
        """
        if not control.retry([self.id], self._database()):
            self.refresh()
            remedy = "it can be run again by a new enqueue" if self.state is State.SUCCESSFUL else "it has not ended"
            raise ResultError(f"{self!r} cannot be retried: {remedy}.")
        self.refresh()

    async def aretry(self) -> None:
        await sync_to_async(self.retry)()

    def _database(self) -> str:
        return cast("str", self.task.get_backend().broker.database)  # type: ignore[attr-defined]

    def _sleep_allowed(self, deadline: float | None, timeout: float | None) -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise ResultTimeout(f"{self!r} has not ended after {timeout} s.")

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
    def is_cancelled(self) -> bool:
        """Somebody has asked to cancel this job: end soon, best by ``raise Discard``.

        Half a second later it is ended.
        """
        slot = getattr(self, "_slot", None)  # the worker's, of this run
        return bool(slot and slot.is_cancelled)

    @cached_property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry the job's id, task and attempt in ``extra``."""
        result = self.task_result
        facts = {"job_id": result.id, "task": result.task.module_path, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger("taskq_django.task"), facts)


def sent_result(task: compat.AnyTask, job: Job, sent_at: datetime, run_after: datetime | None) -> Result[Any]:
    """The handle of a job that was sent just now: equal to what ``read_results`` gives for it."""
    args, kwargs = _readable(job.payload)
    return Result(
        task=task,
        id=job.id,
        status=TaskResultStatus.READY,
        state=State.SCHEDULED if run_after is not None and run_after > sent_at else State.READY,
        enqueued_at=as_orm_gives(sent_at),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=job.backend,
        errors=[],
        worker_ids=[],
        metadata=metadata_of(job.headers),
    )


def running_result(task: compat.AnyTask, claim: Claim, worker_id: str) -> Result[Any]:
    """The handle of a job that this process has begun to run for the first time."""
    args, kwargs = _readable(claim.job.payload)
    now = as_orm_gives(timezone.now() if settings.USE_TZ else datetime.now(UTC))
    return Result(
        task=task,
        id=claim.job.id,
        status=TaskResultStatus.RUNNING,
        state=State.RUNNING,
        enqueued_at=as_orm_gives(datetime.fromtimestamp(claim.enqueued_at, UTC)),
        started_at=now,
        finished_at=None,
        last_attempted_at=now,
        args=args,
        kwargs=kwargs,
        backend=claim.job.backend,
        errors=[],
        worker_ids=[worker_id],
        metadata=metadata_of(claim.job.headers),
    )


def record_veto(task: compat.AnyTask, job: Job, reason: str, broker: Broker) -> Result[Any]:
    """Write down a job that a receiver of before_enqueue did not let through: CANCELLED, with the reason."""
    now = timezone.now()
    JobResult.objects.using(broker.database).create(
        id=job.id,
        task_path=job.task_path,
        backend=job.backend,
        queue_name=job.queue_name,
        priority=job.priority,
        status=State.CANCELLED,
        enqueued_at=now,
        finished_at=now,
        payload=job.payload,
        headers=job.headers,
        message=reason,
    )
    return read_results([job.id], broker.database)[job.id]


def read_results(ids: Iterable[str], database: str) -> dict[str, Result[Any]]:
    """The results of these jobs by id; an unknown id is left out."""
    return {id_: _stored_result(story) for id_, story in read_stories(ids, database).items()}


def _stored_result(story: Story) -> Result[Any]:
    args, kwargs = _readable(story.payload)
    result: Result[Any] = Result(
        task=stored_task(
            story.task_path,
            backend=story.backend,
            queue_name=story.queue_name,
            priority=story.priority,
            run_after=story.run_after,
            metadata=metadata_of(story.headers) or None,
        ),
        id=story.id,
        status=TaskResultStatus(FRAMEWORK_STATUS[story.status]),
        state=State(story.status),
        reason=story.message,
        enqueued_at=story.enqueued_at,
        started_at=story.started_at,
        finished_at=story.finished_at,
        last_attempted_at=story.last_attempted_at,
        args=args,
        kwargs=kwargs,
        backend=story.backend,
        errors=[
            TaskError(exception_class_path=failure.exception_class, traceback=failure.traceback)
            for failure in story.failures
        ],
        worker_ids=story.worker_ids,
        metadata=metadata_of(story.headers),
    )
    if story.return_value is not None:
        with suppress(PayloadError):
            object.__setattr__(result, "_return_value", codec.decode_value(story.return_value))
    return result


def _readable(payload: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments; none where they cannot be read, for the rest of the story is wanted all the same."""
    try:
        return codec.decode_call(payload)
    except PayloadError:
        return [], {}


def metadata_of(headers: str) -> Mapping[str, Any]:
    return orjson.loads(headers).get("metadata", {}) if headers else {}


def as_orm_gives(moment: datetime) -> datetime:
    """An aware moment as the ORM returns it: naive under USE_TZ = False."""
    return moment if settings.USE_TZ or not timezone.is_aware(moment) else timezone.make_naive(moment)


def missing_task(path: str, backend: str) -> compat.AnyTask:
    """Stands in for a task whose code is gone, so that its results stay readable."""

    def gone(*args: Any, **kwargs: Any) -> Any:
        raise TaskNotFound(f"No task is registered as {path!r}.")

    gone.__module__, _, gone.__qualname__ = path.rpartition(".")
    gone.__name__ = gone.__qualname__
    return _unvalidated(Task, func=gone, backend=backend)


def stored_task(path: str, *, backend: str, **asked: Any) -> compat.AnyTask:
    """The Task as it was enqueued. Never validates: its queue or its code may have gone since."""
    try:
        task = registry.find(path)
    except TaskNotFound:
        task = missing_task(path, backend)
    asked["backend"] = backend
    if not isinstance(task, Task):
        del asked["metadata"]  # a Task of the framework's own class, bound to us by using()
    if all(getattr(task, name) == value for name, value in asked.items()):
        return task
    values = {name: getattr(task, name) for name in type(task).__dataclass_fields__}
    return _unvalidated(type(task), **{**values, **asked})


def _unvalidated(cls: type[Any], **values: Any) -> compat.AnyTask:
    task = object.__new__(cls)
    for name, definition in cls.__dataclass_fields__.items():
        object.__setattr__(task, name, values.get(name, definition.default))
    return cast("compat.AnyTask", task)

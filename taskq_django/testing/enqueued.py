"""What a test has enqueued, and what it wanted: compared argument by argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from .. import codec, compat
from ..exceptions import ArgumentError
from ..jobs import Job
from ..registry import registry
from ..results import Result
from ..tasks import Task, check_arguments, parameters_of, wrapped

Differences = Mapping[str, tuple[Any, Any]]  # by what differs: what was wanted, and what was
MISSING = "(nothing)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """A job as it was enqueued. ``run_after`` is a moment, a time from the enqueue on, or None: at once."""

    id: str
    task: Task[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    queue_name: str
    priority: int
    run_after: datetime | timedelta | None
    job: Job = field(repr=False)

    @property
    def result(self) -> Result[Any]:
        """Its handle, as it is now."""
        return self.task.using(backend=self.job.backend).get_backend().get_result(self.id)  # type: ignore[return-value]

    def __str__(self) -> str:
        after = "" if self.run_after is None else f", after {self.run_after}"
        return f"{spelled(self.task, self.args, self.kwargs)} in {self.queue_name!r}{after}"


def enqueued_of(job: Job) -> Enqueued:
    task = registry.find(job.task_path)
    function = task.func if task.native else None
    args, kwargs = codec.decode_call(job.payload, function, takes_context=task.takes_context)
    return Enqueued(
        id=job.id,
        task=task,
        args=args,
        kwargs=kwargs,
        queue_name=job.queue_name,
        priority=job.priority,
        run_after=job.run_after if job.delay_us is None else timedelta(microseconds=job.delay_us),
        job=job,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are meant; None: of any. Made by ``wanted``."""

    task: Task[..., Any] | None
    call: tuple[Sequence[Any], Mapping[str, Any]] | None
    queue_name: str | None
    run_after: datetime | timedelta | None

    def __str__(self) -> str:
        said = "any task" if self.task is None else self.task.module_path
        if self.task is not None and self.call is not None:
            said = spelled(self.task, *self.call)
        if self.queue_name is not None:
            said += f" in {self.queue_name!r}"
        return said if self.run_after is None else f"{said}, after {self.run_after}"

    def is_task_of(self, each: Enqueued) -> bool:
        return self.task is None or each.task.func is self.task.func

    def differences(self, each: Enqueued) -> Differences:
        """Of a job of the same task; none for one that is meant."""
        found: dict[str, tuple[Any, Any]] = {}
        if self.call is not None:
            wants, has = bound(each.task, *self.call), bound(each.task, each.args, each.kwargs)
            for name in dict.fromkeys([*wants, *has]):
                pair = wants.get(name, MISSING), has.get(name, MISSING)
                if pair[0] != pair[1]:
                    found[name] = pair
        if self.queue_name is not None and self.queue_name != each.queue_name:
            found["queue_name"] = self.queue_name, each.queue_name
        if self.run_after is not None and self.run_after != (each.run_after or timedelta()):
            found["run_after"] = self.run_after, each.run_after
        return found


def wanted(
    task: compat.AnyTask | None,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    queue_name: str | None,
    run_after: datetime | timedelta | float | None,
) -> Wanted:
    """Raises ArgumentError, a TypeError, for arguments that the task could not have been enqueued with."""
    if isinstance(run_after, int | float):
        run_after = timedelta(seconds=run_after)
    elif isinstance(run_after, datetime) and timezone.is_naive(run_after):
        run_after = timezone.make_aware(run_after)
    if task is not None and not isinstance(task, compat.Task):
        raise TypeError(f"The first argument must be a task, not {task!r}.")
    call = None
    ours = None if task is None else wrapped(task)
    if args is not None or kwargs is not None:
        if ours is None:
            raise TypeError("args and kwargs are of one task: name it as the first argument.")
        call = _as_sent(ours, args or (), kwargs or {})
    return Wanted(ours, call, queue_name, run_after)


def _as_sent(
    task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """As they come out at the other end: in plain JSON a tuple is a list."""
    if isinstance(args, str) or not isinstance(args, Sequence):
        raise TypeError(f"args must be a tuple or a list, not {args!r}: write args=({args!r},).")
    check_arguments(task, args, kwargs)
    function = task.func if task.native else None
    try:
        text = codec.encode_call(
            args, kwargs, plain=not task.native, function=function, takes_context=task.takes_context
        )
    except ArgumentError:
        return args, kwargs  # unittest.mock.ANY, say, which is equal to what was sent and cannot be sent itself
    return codec.decode_call(text, function, takes_context=task.takes_context)


def bound(task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The value of each parameter, defaults too."""
    arguments = parameters_of(task.func, task.takes_context)[0].bind(*args, **kwargs)
    arguments.apply_defaults()
    return arguments.arguments


def spelled(task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """``shop.tasks.send_welcome(42, retry=True)``"""
    parts = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"{task.module_path}({', '.join(parts)})"

"""@task and Task."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from inspect import Parameter, Signature, iscoroutinefunction, isfunction, signature
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    ParamSpec,
    Self,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from django.conf import settings
from django.utils import timezone

from . import compat, task_options
from .compat import InvalidTask, InvalidTaskBackend
from .conf import taskq_settings
from .exceptions import ArgumentError, did_you_mean, has_twin
from .schedules.declaring import DeclaredSchedule
from .task_options import BackoffOption, TaskOptions

if TYPE_CHECKING:
    from .results import Result
    from .task_options import AsyncTask, ContextDecorator, Decorator

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Misplaced(InvalidTask):
    """The settings have no place for this task, which is complete for the rest."""

    def __init__(self, message: str, task: Any) -> None:
        super().__init__(message)
        self.task = task


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(compat.Task, Generic[P, R]):  # type: ignore[type-arg]
    """A function with its options; code, never stored.

    A Task of django.tasks with more options; the first six fields are the framework's, with the defaults that
    Django 6.1 gives them. What Django's own decorator builds for our backend is of this class too, with ``native``
    false: it keeps Django's rules (strict JSON, one attempt).
    """

    func: Callable[P, R]
    priority: int = 0
    backend: str = "default"
    queue_name: str = "default"
    run_after: datetime | timedelta | None = None  # type: ignore[assignment]  # a timedelta counts from the enqueue
    takes_context: bool = False

    max_attempts: int | None = None  # None: TASKQ["TASK_DEFAULTS"]["MAX_ATTEMPTS"]
    backoff: BackoffOption | None = None  # None: Backoff()
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()
    timeout: float | timedelta | None = None  # seconds of one run
    expires: float | timedelta | None = None  # not started so long after it was due: EXPIRED
    rerun_on_crash: bool = True  # run it again when its process dies?
    store_result: bool = True
    keep_result: float | timedelta | None = None  # None: TASKQ["RESULTS"]
    sensitive: tuple[str, ...] = ()  # parameters that the admin masks
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)  # JSON; travels with the job
    aliases: tuple[str, ...] = ()  # paths it had before
    schedule: tuple[DeclaredSchedule, ...] = ()  # a beat enqueues it then
    schedulable: bool | str = True  # in the admin; False: by nobody; "app.codename": by who has that permission
    native: bool = False

    def __post_init__(self) -> None:
        task_options.validate(self)
        if self.sensitive:
            task_options.validate_sensitive(self, parameters_of(self.func, self.takes_context)[0].parameters)
        try:
            backend = self.get_backend()
        except InvalidTaskBackend as error:
            error.task = self  # type: ignore[attr-defined]
            raise
        if isinstance(self.run_after, timedelta) and not getattr(backend, "supports_relative_defer", False):
            # Another backend (Django's Dummy in tests) knows moments only.
            object.__setattr__(self, "run_after", timezone.now() + self.run_after)
        backend.validate_task(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now: a plain call, nothing is enqueued."""
        return self.func(*args, **kwargs)

    @has_twin
    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """Ask a worker to run this; returns at once.

        Inside a transaction on the queue's database the job exists when, and only if, that commits.
        Raises ArgumentError (a TypeError) for arguments that do not fit the signature or cannot be sent.
        """
        __traceback_hide__ = True  # from error reports, because a secret may be in args or kwargs
        return cast("Result[R]", self.get_backend().enqueue(self, args, kwargs))  # type: ignore[arg-type]

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        __traceback_hide__ = True  # as above
        return cast("Result[R]", await self.get_backend().aenqueue(self, args, kwargs))  # type: ignore[arg-type]

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """``enqueue``, by the name that Celery gives it."""
        return self.enqueue(*args, **kwargs)

    @has_twin
    def enqueue_many(self, calls: Iterable[Sequence[Any] | Mapping[str, Any]]) -> Sequence[Result[R]]:
        """Enqueue one job per call, in batches of one round trip each.

        A call is a tuple of positional arguments or a dict of keyword arguments. All are checked before the
        first is sent. The handles are made when they are asked for.
        """
        prepared, __traceback_hide__ = task_options.read_calls(calls), True  # as above
        backend = self.get_backend()
        if hasattr(backend, "enqueue_many"):
            return cast("Sequence[Result[R]]", backend.enqueue_many(self, prepared))
        return [cast("Result[R]", backend.enqueue(self, list(args), kwargs)) for args, kwargs in prepared]

    async def aenqueue_many(self, calls: Iterable[Sequence[Any] | Mapping[str, Any]]) -> Sequence[Result[R]]:
        from asgiref.sync import sync_to_async

        return await sync_to_async(self.enqueue_many)(calls)

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | timedelta | float | None = None,
        backend: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """A copy with other options; None keeps what is there. ``run_after`` in seconds counts from the enqueue."""
        changes: dict[str, Any] = {
            "priority": priority,
            "queue_name": queue_name,
            "run_after": run_after,
            "backend": backend,
            "metadata": metadata,
        }
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def get_result(self, result_id: str) -> Result[R]:
        """The handle of a job of this task. Raises TaskResultDoesNotExist, TaskResultMismatch (django.tasks)."""
        return cast("Result[R]", compat.Task.get_result(self, result_id))

    async def aget_result(self, result_id: str) -> Result[R]:
        return cast("Result[R]", await compat.Task.aget_result(self, result_id))

    @property
    def attempts_allowed(self) -> int:
        if not self.native:
            return 1
        return self.max_attempts or taskq_settings().task_defaults.max_attempts

    @property
    def is_async(self) -> bool:
        return iscoroutinefunction(self.func)

    @property
    def given(self) -> compat.AnyTask:
        """The object that the project has."""
        return self


class ForeignTask(Task[..., Any]):
    """Stands for a Task of the framework's own class: one for another backend, which using() has bound to ours."""

    __slots__ = ("_given",)
    _given: compat.AnyTask

    def __post_init__(self) -> None:
        """Of ``dataclasses.replace``: the project has no such object yet."""
        fields = {name: getattr(self, name) for name in compat.Task.__dataclass_fields__}
        object.__setattr__(self, "_given", compat.Task(**fields))

    def __reduce__(self) -> tuple[Any, ...]:
        return wrapped, (self._given,)

    @property
    def given(self) -> compat.AnyTask:
        return self._given

    def using(self, **changes: Any) -> Task[..., Any]:  # type: ignore[override]
        return wrapped(self._given.using(**changes))


def wrapped(task: compat.AnyTask) -> Task[..., Any]:
    """The same as a Task of ours, so that it has all options."""
    if isinstance(task, Task):
        return task
    made = unvalidated(ForeignTask, **{name: getattr(task, name) for name in type(task).__dataclass_fields__})
    object.__setattr__(made, "_given", task)
    return made


def unvalidated(cls: type[T], **values: Any) -> T:
    """A Task with these values and else the defaults. For one that was accepted before: what it names may be gone."""
    task = object.__new__(cls)
    for name, definition in cls.__dataclass_fields__.items():  # type: ignore[attr-defined]
        object.__setattr__(task, name, values.get(name, definition.default))
    return task


@lru_cache(maxsize=4096)
def parameters_of(func: Callable[..., Any], takes_context: bool) -> tuple[Signature, tuple[str, ...], int, int]:
    """Signature, names of the positional parameters, and how many positional arguments a plain call may have."""
    full = signature(func)
    parameters = list(full.parameters.values())[1 if takes_context else 0 :]
    positional = [p for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    required = sum(1 for p in positional if p.default is Parameter.empty)
    if any(p.kind is Parameter.KEYWORD_ONLY and p.default is Parameter.empty for p in parameters):
        required = 1 << 30  # no plain positional call is complete
    return full.replace(parameters=parameters), tuple(p.name for p in positional), required, len(positional)


_STARS: dict[object, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


@lru_cache(maxsize=4096)
def spelled_parameters(func: Callable[..., Any], takes_context: bool) -> tuple[str, ...]:
    """The parameters as ``def`` has them, without annotations: ``("user", "*", "pin", "**more")``."""
    spelled: list[str] = []
    for each in parameters_of(func, takes_context)[0].parameters.values():
        if each.kind is Parameter.KEYWORD_ONLY and not any(name.startswith("*") for name in spelled):
            spelled.append("*")
        spelled.append(f"{_STARS.get(each.kind, '')}{each.name}")
    return tuple(spelled)


def check_arguments(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Refuse arguments that do not fit the task's signature; returns the names of its positional parameters."""
    known, names, required, most = parameters_of(task.func, task.takes_context)
    if not kwargs and required <= len(args) <= most:
        return names
    try:
        known.bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(f"{task.module_path}{known} cannot be enqueued like this: {error}") from None
    return names


@overload
def task(function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(*, takes_context: Literal[True], **options: Unpack[TaskOptions]) -> ContextDecorator: ...
@overload
def task(*, takes_context: Literal[False] = ..., **options: Unpack[TaskOptions]) -> Decorator: ...
def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a module-level function, sync or async, a Task.

    ``@task`` or ``@task(queue_name="mail", priority=10, max_attempts=5, …)``; the options are the fields of Task.
    Raises InvalidTask (django.tasks) for a function or an option that cannot work, TypeError for an unknown option.
    """
    if "run_after" in options:
        raise TypeError("run_after cannot be fixed in @task: use .using(run_after=…) where you enqueue.")
    unknown = sorted(options.keys() - Task.__dataclass_fields__.keys() | options.keys() & {"func", "native"})
    if unknown:
        remedy = did_you_mean(unknown[0], Task.__dataclass_fields__)
        raise TypeError(f"@task has no option {unknown[0]!r}. {remedy}".rstrip())

    def decorate(func: Callable[..., Any]) -> Task[..., Any]:
        if not isfunction(func) or "<" in func.__qualname__:
            raise InvalidTask(
                f"@task needs a function defined at module level with def, not {func!r}: a worker finds it by its path."
            )
        if func.__module__ == "__main__":
            raise InvalidTask(
                f"@task function {func.__name__} is in __main__: move it to a module that workers can import."
            )
        try:
            return Task(func=func, native=True, **options)
        except (InvalidTaskBackend, Misplaced) as error:
            # What is wrong is in TASKS, and is for a system check to say, with all else: a traceback of this import
            # would come first. Who enqueues is refused.
            alias = options.get("backend", "default")
            if alias not in settings.TASKS:
                path = f"{func.__module__}.{func.__qualname__}"
                error.add_note(f"The task {path} waits in TASKS[{alias!r}], which is not there.")
                raise
            return cast("Task[..., Any]", error.task)  # type: ignore[union-attr]

    return decorate(function) if function is not None else decorate

"""What the options of a task may be. Each refusal names the task, the option, what was given, and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypedDict, TypeVar, overload

from .backoff import LONGEST_DELAY, Backoff
from .compat import InvalidTask
from .exceptions import ArgumentError, did_you_mean
from .schedules.declaring import DeclaredSchedule

if TYPE_CHECKING:
    from .results import Result, TaskContext
    from .tasks import Task

P = ParamSpec("P")
R = TypeVar("R")

BackoffOption = Backoff | Callable[[BaseException, "Result[Any]"], float | timedelta | None]

MOST_ATTEMPTS = 1000
LONGEST_PATH = 255  # characters of a task's path, in the tables


def _is_exception(each: Any) -> bool:
    return isinstance(each, type) and issubclass(each, BaseException)


def _is_name(each: Any) -> bool:
    return isinstance(each, str) and 0 < len(each) <= LONGEST_PATH


# What may stand in each, and whether something is that.
_LISTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "retry_on": ("exception classes", _is_exception),
    "give_up_on": ("exception classes", _is_exception),
    "sensitive": ("names of parameters", _is_name),
    "aliases": ("paths of tasks", _is_name),
}


class TaskOptions(TypedDict, total=False):
    """What ``@task`` takes beside ``takes_context``: the fields of Task, lists as they may be written."""

    queue_name: str
    priority: int
    backend: str
    max_attempts: int | None
    backoff: BackoffOption | None
    retry_on: Iterable[type[BaseException]]
    give_up_on: Iterable[type[BaseException]]
    timeout: float | timedelta | None
    expires: float | timedelta | None
    rerun_on_crash: bool
    store_result: bool
    keep_result: float | timedelta | None
    sensitive: Iterable[str]
    metadata: Mapping[str, Any] | None
    aliases: Iterable[str]
    schedule: DeclaredSchedule | Iterable[DeclaredSchedule]
    schedulable: bool | str


if TYPE_CHECKING:

    class AsyncTask(Task[P, R]):
        """What type checkers know of a Task of an ``async def``: a plain call of it is to be awaited."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...  # type: ignore[override]

    class Decorator(Protocol):
        @overload
        def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...

    class ContextDecorator(Protocol):
        @overload
        def __call__(
            self, function: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /
        ) -> AsyncTask[P, R]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[TaskContext, P], R], /) -> Task[P, R]: ...


def validate(task: Any) -> None:
    """Make the options of this task what its fields say, or raise InvalidTask."""
    where = f"Task {task.module_path}"
    attempts = task.max_attempts
    if attempts is not None and (type(attempts) is not int or not 1 <= attempts <= MOST_ATTEMPTS):
        raise InvalidTask(f"{where}: max_attempts must be a whole number from 1 to {MOST_ATTEMPTS}, not {attempts!r}.")
    if task.backoff is not None:
        if isinstance(task.backoff, type):
            raise InvalidTask(
                f"{where}: backoff is the class {task.backoff.__name__}: write {task.backoff.__name__}()."
            )
        if not (isinstance(task.backoff, Backoff) or callable(task.backoff)):
            raise InvalidTask(f"{where}: backoff must be a Backoff or a function, not {task.backoff!r}.")
    if task.metadata is not None:
        object.__setattr__(task, "metadata", _plain_metadata(where, task.metadata))
    if task.run_after is not None:
        object.__setattr__(task, "run_after", _run_after(where, task.run_after))
    for name in ("timeout", "expires", "keep_result"):
        if (given := getattr(task, name)) is not None:
            object.__setattr__(task, name, _positive_seconds(where, name, given))
    for name in ("rerun_on_crash", "store_result"):
        if type(given := getattr(task, name)) is not bool:
            raise InvalidTask(f"{where}: {name} must be True or False, not {given!r}.")
    if task.native and type(task.priority) is not int:
        raise InvalidTask(f"{where}: priority must be a whole number between -100 and 100, not {task.priority!r}.")
    for name, (what, fits) in _LISTS.items():
        given = getattr(task, name)
        if type(given) is not tuple:
            object.__setattr__(task, name, _as_tuple(where, name, given))
        for each in getattr(task, name):
            if not fits(each):
                raise InvalidTask(f"{where}: {name} must hold {what}, not {each!r}.")
    _validate_schedule(where, task)


def validate_sensitive(task: Any, parameters: Mapping[str, Parameter]) -> None:
    """Each name must be that of a parameter: a misspelt one would mask nothing. ``**kwargs`` may hold any name."""
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in task.sensitive:
        if name not in parameters:
            remedy = did_you_mean(name, parameters) or f"It has {', '.join(parameters) or 'none'}."
            raise InvalidTask(f"Task {task.module_path}: sensitive names {name!r}, which is no parameter. {remedy}")


def refuse_text(given: object, what: str, remedy: str) -> None:
    """A str is an iterable of its characters, which nobody means. Raises ArgumentError."""
    if isinstance(given, (str, bytes)):
        raise ArgumentError(f"{what} must be a list, not a {type(given).__name__}: {remedy}.")


def read_calls(calls: Iterable[Any]) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What ``enqueue_many`` is given, each as positional and keyword arguments. Raises ArgumentError."""
    example = "enqueue_many([(1,), (2,)])"
    refuse_text(calls, "The calls", f"write {example}")
    if isinstance(calls, Mapping) or not isinstance(calls, Iterable):
        raise ArgumentError(f"The calls must be a list, not a {type(calls).__name__}: write {example}.")
    return [_read_call(position, call) for position, call in enumerate(calls)]


def _read_call(position: int, call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(call, (list, tuple)):
        return tuple(call), {}
    if isinstance(call, Mapping):
        return (), dict(call)
    raise ArgumentError(
        f"Call {position}, counted from 0, is a {type(call).__name__}. It must be a tuple of positional arguments "
        "or a dict of keyword arguments: (value,) for a single one."
    )


def _as_tuple(where: str, name: str, given: Any) -> tuple[Any, ...]:
    if isinstance(given, (str, bytes, Mapping, type)) or not isinstance(given, Iterable):
        text = given.__name__ if isinstance(given, type) else repr(given)
        if isinstance(given, str) and _LISTS[name][1] is _is_exception:
            text = given if given.isidentifier() else "ValueError"
        remedy = f": write {name}=[{text}]" if isinstance(given, (str, type)) else ""
        raise InvalidTask(f"{where}: {name} must be a list of {_LISTS[name][0]}, not {given!r}{remedy}.")
    return tuple(given)


def _validate_schedule(where: str, task: Any) -> None:
    given = task.schedule
    if type(given) is not tuple:
        is_list = isinstance(given, Iterable) and not isinstance(given, (str, type))
        object.__setattr__(task, "schedule", tuple(given) if is_list else (given,))
    if not all(isinstance(each, DeclaredSchedule) for each in task.schedule):
        raise InvalidTask(f"{where}: schedule must be cron(…) or every(…), or a list of these, not {given!r}.")
    asked = task.schedulable
    if not isinstance(asked, bool) and not (isinstance(asked, str) and "." in asked):
        raise InvalidTask(
            f"{where}: schedulable must be True, False or a permission like 'app.codename', not {asked!r}."
        )


def _plain_metadata(where: str, given: Any) -> Any:
    """As it will be read back: a tuple is a list by then. json and not orjson, which takes dates for texts."""
    if not isinstance(given, Mapping):
        raise InvalidTask(f"{where}: metadata must be a dict, not {given!r}.")
    try:
        return json.loads(json.dumps(dict(given), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTask(f"{where}: metadata must be plain JSON: {error}.") from None


def _run_after(where: str, given: object) -> datetime | timedelta:
    if isinstance(given, (datetime, timedelta)):
        return given
    if isinstance(given, (int, float)) and not isinstance(given, bool) and abs(given) <= LONGEST_DELAY:
        return timedelta(seconds=given)
    raise InvalidTask(
        f"{where}: run_after must be a datetime, a timedelta or a number of seconds (a hundred years at most), "
        f"not {given!r}."
    )


def _positive_seconds(where: str, name: str, given: object) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds <= LONGEST_DELAY:
        return float(seconds)
    raise InvalidTask(f"{where}: {name} must be a positive number of seconds or a timedelta, not {given!r}.")

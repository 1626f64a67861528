"""Every exception that taskq_django raises; each message says where, what, and the remedy.

Retry and Discard are no errors: a task raises them to say how its run ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation

from .backoff import in_seconds

F = TypeVar("F", bound=Callable[..., Any])


class TaskqError(Exception):
    """Root of the errors of this package."""


class ConfigurationError(TaskqError, ImproperlyConfigured):
    """A setting is wrong; the message names it and the remedy. Also Django's ImproperlyConfigured."""


class TaskNotFound(TaskqError):
    """No task is registered under this path."""


class ArgumentError(TaskqError, TypeError, ValueError):
    """An argument cannot be sent; the message names it, its type and the remedy. Also a TypeError and a ValueError."""


class PayloadTooLarge(ArgumentError):
    """The arguments together are larger than the backend's ``max_payload``."""


class PayloadError(TaskqError):
    """Stored arguments or a stored result cannot be read back."""


class ResultNotSerializable(TaskqError, TypeError):
    """A task returned a value that cannot be stored. Also a TypeError."""


class ResultTooLarge(ResultNotSerializable):
    """A task returned more than the backend's ``max_payload``."""


class BrokerError(TaskqError):
    """The broker refused or failed."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached. ``known``: nothing was done, for certain; else its answer was lost.

    ``answers``: it is there, and takes nothing for now, as one that is full.
    """

    def __init__(self, message: str, *, known: bool = False, answers: bool = False) -> None:
        super().__init__(message)
        self.known = known
        self.answers = answers


class EngineUnavailable(BrokerUnavailable):
    """Not the store of a message broker, which answers, but the engine beside it."""


class OutcomeRefused(BrokerError):
    """The store will never take what came of a job, or of one of several: it has written nothing of these."""


class SpecError(TaskqError, ValueError):
    """A schedule cannot be read; ``field`` names what is wrong: kind, spec, timezone, or an option of ``cron``.

    Also a ValueError.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class BrokenSchedule(TaskqError):
    """No job can be made of a schedule; the message says why: its task, its arguments, its backend."""


class ResultError(TaskqError):
    """The result of a job cannot be had."""


class ResultTimeout(ResultError, TimeoutError):
    """The job has not ended within the time given. Also a TimeoutError."""


class TaskFailed(ResultError):
    """The job has ended, and not with success. ``result`` is its handle, with the errors."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class TaskTimeout(TaskqError, TimeoutError):
    """A run took longer than the task's ``timeout``: what ``retry_on`` and ``give_up_on`` are asked about.

    Also a TimeoutError.
    """


class WorkerLost(TaskqError):
    """The process that ran the job is gone. Never raised: it names a failed attempt."""


class Retry(Exception):
    """Raised by a task: run me again, after ``delay`` seconds (or a timedelta; default: the task's backoff)."""

    def __init__(self, delay: float | timedelta | None = None) -> None:
        super().__init__("the task asked to be run again")
        self.delay = None if delay is None else in_seconds(delay)


class Discard(Exception):
    """Raised by a task or by a receiver of a ``before_`` signal: end this job as CANCELLED, with a reason."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def has_twin(function: F) -> F:
    """Of a method with an async twin: what Django refuses in a coroutine names the twin as the remedy."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __traceback_hide__ = True  # from error reports: a secret may be in the arguments
        try:
            return function(*args, **kwargs)
        except SynchronousOnlyOperation:
            name = function.__name__
            text = f"{name}() asks a database, so it cannot be called in a coroutine: write `await ….a{name}(…)`."
            raise SynchronousOnlyOperation(text) from None

    return cast("F", call)


def one_line(error: Exception) -> str:
    """What it says, for a log."""
    return " ".join(str(error).split())


def in_print(text: str) -> str:
    """For a log: what was stored by another hand may hold ends of lines, or signs that a terminal obeys."""
    return text if text.isprintable() else repr(text)[1:-1]


def clause(error: Exception) -> str:
    """The same as a part of a sentence that goes on."""
    return one_line(error).removesuffix(".")


def counted(count: int, what: str, several: str = "") -> str:
    """``1 job``, ``2 jobs``. ``several``: where that is no ``s`` more."""
    return f"{count} {what if count == 1 else several or what + 's'}"


def lasting(seconds: float, joint: str = " ") -> str:
    """Roughly, in its two largest units: ``2 d 4 h``. ``joint``: between a number and its unit."""
    left = max(0, round(seconds))
    for size, unit, smaller, name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if left >= size:
            first, rest = divmod(left, size)
            second = rest // smaller
            return f"{first}{joint}{unit} {second}{joint}{name}" if second else f"{first}{joint}{unit}"
    return f"{left}{joint}s"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What a message asks of a name that is not known; "" where none of the known ones is near."""
    nearest = get_close_matches(name, list(known), n=1)
    return f'Did you mean "{nearest[0]}"?' if nearest else ""


def as_text(value: object) -> str:
    """``str`` of what a task or a receiver has raised or said. Never raises: it must not cost a job its end."""
    try:
        return str.__str__(str(value))  # of its own kind of str only the characters
    except BaseException:  # sys.exit() in a __str__ too
        return "(message unavailable)"

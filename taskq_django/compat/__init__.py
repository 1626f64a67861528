"""The one file that knows whether ``django.tasks`` is Django's (≥ 6.0) or the ``django-tasks`` backport (5.2)."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import django
from django.core.checks.registry import registry
from django.dispatch import Signal

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import TASK_REFRESH_ATTRS, Task, TaskError
    from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started

    FRAMEWORK = "django.tasks"
elif importlib.util.find_spec("django_tasks") is not None:
    # Its app registers these two in ready(); a project that installs only our app must have them too.
    import django_tasks.checks
    import django_tasks.signals  # noqa: F401
    from django_tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
    from django_tasks import exceptions as _exceptions
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import TASK_REFRESH_ATTRS, Task, TaskError
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started

    # Renamed after 0.12 to the names that Django uses.
    InvalidTask = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError
    InvalidTaskBackend = getattr(_exceptions, "InvalidTaskBackend", None) or _exceptions.InvalidTaskBackendError

    FRAMEWORK = "django_tasks"
else:
    from .without_framework import (
        FRAMEWORK,
        TASK_REFRESH_ATTRS,
        BaseTaskBackend,
        InvalidTask,
        InvalidTaskBackend,
        Task,
        TaskContext,
        TaskError,
        TaskResult,
        TaskResultDoesNotExist,
        TaskResultStatus,
        task_backends,
        task_enqueued,
        task_finished,
        task_started,
    )


def without_framework_check() -> None:
    """Take back the framework's own system check: it ends every command with a traceback where a BACKEND cannot be
    imported, before a check of ours can say which was meant.
    """
    module = import_module(f"{FRAMEWORK}.checks")
    for check in [each for each in registry.registered_checks if each.__module__ == module.__name__]:
        registry.registered_checks.discard(check)


def _twin(module: str, name: str) -> Any:
    """What the backport has of this name, where a package has imported it beside Django's own; else None."""
    imported = sys.modules.get(f"django_tasks.{module}") if FRAMEWORK == "django.tasks" else None
    return getattr(imported, name, None)


_NAMES = {task_enqueued: "task_enqueued", task_started: "task_started", task_finished: "task_finished"}


def _told_by(signal: Signal) -> Iterator[tuple[Signal, str]]:
    """Itself and its twin, because a package listens to what it has imported; each with the logger of its framework."""
    yield signal, FRAMEWORK
    if twin := _twin("signals", _NAMES[signal]):
        yield twin, "django_tasks"


def is_heard(signal: Signal, level: int) -> bool:
    """Would anybody notice this signal of django.tasks?

    Its own receiver only logs, at ``level``. A TaskResult and a signal cost more than all else that a job needs,
    so they are left out when nobody listens and no log handler would write the line.
    """
    return any(len(each.receivers) > 1 or _is_written(logger, level) for each, logger in _told_by(signal))


def _is_written(name: str, level: int) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    if not logger or not logger.isEnabledFor(level):
        return False
    record = logging.LogRecord(name, level, "", 0, "", (), None)
    while logger:
        for output in logger.handlers:
            if output.level <= level and output.filter(record) and not isinstance(output, logging.NullHandler):
                return True
        logger = logger.parent if logger.propagate else None
    return False


def announce(signal: Signal, sender: type[BaseTaskBackend], result: TaskResult[Any, Any]) -> None:
    """Send a signal of django.tasks. Unlike core's own backends, to no receiver's harm: what one raises is logged."""
    for each, _ in _told_by(signal):
        each.send_robust(sender, task_result=result)


def unknown_result(id_: str) -> TaskResultDoesNotExist:
    """The error of a result that is not there: a package catches the class that it has imported."""
    twin = _twin("exceptions", "TaskResultDoesNotExist")
    return (_as_both(twin) if twin else TaskResultDoesNotExist)(id_)


@cache
def _as_both(twin: type[Exception]) -> type[TaskResultDoesNotExist]:
    ours = TaskResultDoesNotExist
    return cast("type[TaskResultDoesNotExist]", type(ours.__name__, (ours, twin), {"__module__": ours.__module__}))


if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
    AnyResult = TaskResult[Any, Any]
else:
    AnyTask, AnyResult = Task, TaskResult

__all__ = [
    "FRAMEWORK",
    "TASK_REFRESH_ATTRS",
    "AnyResult",
    "AnyTask",
    "BaseTaskBackend",
    "InvalidTask",
    "InvalidTaskBackend",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "announce",
    "is_heard",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
    "unknown_result",
    "without_framework_check",
]

"""A task queue that is native to Django.

The names below are loaded when they are first used: the package imports without Django being set up.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Backoff": "backoff",
    "DatabaseRouter": "routing",
    "Discard": "exceptions",
    "Progress": "jobs",
    "Result": "results",
    "Retry": "exceptions",
    "await_for": "results",
    "cron": "schedules.declaring",
    "every": "schedules.declaring",
    "Task": "tasks",
    "TaskContext": "results",
    "TaskqBackend": "backend",
    "task": "tasks",
    "wait_for": "results",
}

if TYPE_CHECKING:
    from .backend import TaskqBackend
    from .backoff import Backoff
    from .exceptions import Discard, Retry
    from .jobs import Progress
    from .results import Result, TaskContext, await_for, wait_for
    from .routing import DatabaseRouter
    from .schedules.declaring import cron, every
    from .tasks import Task, task

__all__ = [
    "Backoff",
    "DatabaseRouter",
    "Discard",
    "Progress",
    "Result",
    "Retry",
    "Task",
    "TaskContext",
    "TaskqBackend",
    "await_for",
    "cron",
    "every",
    "task",
    "wait_for",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

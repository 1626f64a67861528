"""What stands in for ``django.tasks`` where Django has none and its backport is not installed.

With it every module can be imported, so that the system check E009 says what to install, and not a traceback before it.
Whatever is used of it raises the same in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.dispatch import Signal

from ..exceptions import ConfigurationError

FRAMEWORK = "django_tasks"
TASK_REFRESH_ATTRS: set[str] = set()


class InvalidTask(ConfigurationError): ...


class InvalidTaskBackend(ConfigurationError): ...


class TaskResultDoesNotExist(ConfigurationError): ...


class NoBackends:
    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __getitem__(self, alias: str) -> Any:
        raise InvalidTaskBackend(
            "Django 5.2 has no django.tasks of its own and the backport is not installed: "
            'pip install "taskq-django[django52]"'
        )


task_backends = NoBackends()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    func: Callable[..., Any]
    priority: int = 0
    backend: str = "default"
    queue_name: str = "default"
    run_after: datetime | None = None
    takes_context: bool = False

    @property
    def module_path(self) -> str:
        return f"{self.func.__module__}.{self.func.__qualname__}"

    def get_backend(self) -> Any:
        return task_backends[self.backend]


class Unmade:
    """What there is of a job only."""


TaskContext = TaskError = TaskResult = TaskResultStatus = Unmade


class BaseTaskBackend:
    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        task_backends[alias]


task_enqueued, task_started, task_finished = Signal(), Signal(), Signal()

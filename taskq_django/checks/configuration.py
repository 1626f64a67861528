"""Checks of the settings and of the tasks; they read no database."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import django
from django.conf import settings
from django.core.checks import CheckMessage, register
from django.utils.module_loading import import_string

from ..conf import option_problems, problems, queue_name_problem
from ..conf.declaration import Problem, described
from ..exceptions import did_you_mean
from .messages import TAG, message_of

BACKEND = "taskq_django.TaskqBackend"


@register(TAG)
def check_taskq(**kwargs: Any) -> list[CheckMessage]:
    """The setting ``TASKQ``."""
    return [message_of(problem) for problem in problems()]


@register(TAG)
def check_framework(**kwargs: Any) -> list[CheckMessage]:
    """Django 5.2 needs the backport of ``django.tasks``."""
    if has_framework():
        return []
    hint = 'Type: pip install "taskq-django[django52]", or upgrade to Django 6.0 or newer.'
    message = "has no django.tasks (it came with 6.0), and its backport django-tasks is not installed."
    return [message_of(Problem(f"Django {django.get_version()}", message, hint, "E009"))]


@register(TAG)
def check_backends(**kwargs: Any) -> list[CheckMessage]:
    """Each alias in ``TASKS`` that has our backend. The only place that reports on them."""
    configured = getattr(settings, "TASKS", {})
    if not isinstance(configured, Mapping) or not has_framework():
        return []
    return [
        message_of(problem)
        for alias, params in configured.items()
        if isinstance(params, Mapping)
        for problem in _backend_problems(alias, params)
    ]


@register(TAG)
def check_tasks(**kwargs: Any) -> list[CheckMessage]:
    """A path must lead to one task, for a job carries only the path."""
    if not has_framework():
        return []
    from ..registry import registry

    hint = "Rename one of the two functions, or import the one where the other is."
    return [
        message_of(Problem(f"The task path {path}", f"is taken twice: at {first} and at {second}.", hint, "E010"))
        for path, first, second in registry.duplicates
    ]


@register(TAG)
def check_queues(**kwargs: Any) -> list[CheckMessage]:
    """A task must wait in a queue that its backend offers."""
    if not has_framework() or check_backends():
        return []
    from ..backend import OFFER, not_offered, our_backends
    from ..compat import task_backends
    from ..registry import registry

    ours: dict[str, Any] = {alias: task_backends[alias] for alias in our_backends()}
    return [
        message_of(Problem(f"The task {task.module_path}", not_offered(task.queue_name, backend), OFFER, "E017"))
        for task in registry.all()
        if (backend := ours.get(task.backend)) and backend.queues and task.queue_name not in backend.queues
    ]


@register(TAG)
def check_schedules(**kwargs: Any) -> list[CheckMessage]:
    if not has_framework() or check_backends():  # then schedules cannot be judged
        return []
    from ..beat.declared import judged

    return [
        message_of(Problem(f"The schedule {key!r} of {task.module_path}", f"is wrong: {problem}", "", "E016"))
        for key, task, _, problem in judged()
        if problem
    ]


def has_misspelt_backend() -> bool:
    """For the start of the app."""
    return any(message.id == f"{TAG}.E008" for message in check_backends())


def _backend_problems(alias: str, params: Mapping[str, Any]) -> Iterator[Problem]:
    path = params.get("BACKEND")
    try:
        backend = import_string(path) if isinstance(path, str) else None
    except ImportError as error:
        yield from _misspelt(alias, str(path), error)
        return
    # Here, because importing it fails where django.tasks is missing.
    from ..backend import TaskqBackend

    if not (isinstance(backend, type) and issubclass(backend, TaskqBackend)):
        return
    yield from option_problems(alias, params.get("OPTIONS", {}))
    yield from _queue_problems(alias, params.get("QUEUES", []))


def _misspelt(alias: str, path: str, error: ImportError) -> Iterator[Problem]:
    if did_you_mean(path, [BACKEND]) or path.partition(".")[0] == TAG:
        message = f'is "{path}", which cannot be imported: {error}. Did you mean "{BACKEND}"?'
        yield Problem(f'TASKS["{alias}"]["BACKEND"]', message, "", "E008")


def _queue_problems(alias: str, queues: object) -> Iterator[Problem]:
    where = f'TASKS["{alias}"]["QUEUES"]'
    if not isinstance(queues, (list, tuple, set, frozenset)):
        hint = 'Write a list, as ["default", "mail"]; an empty one or none at all means any queue.'
        yield Problem(where, f"is {described(queues)}; it must be a list of queue names.", hint, "E007")
        return
    for name in queues:
        if problem := queue_name_problem(name):
            yield Problem(where, f"is wrong: {problem}.", "", "E007")


def has_framework() -> bool:
    return django.VERSION >= (6, 0) or importlib.util.find_spec("django_tasks") is not None

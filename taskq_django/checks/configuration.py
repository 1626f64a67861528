"""Checks of the settings and of the tasks; they read no database."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from ..conf import advice, option_problems, problems, queue_name_problem, right_settings
from ..conf.declaration import Problem, described, unknown_key
from ..exceptions import did_you_mean
from .messages import TAG, reports

OF_BACKENDS = ("BACKEND", "QUEUES", "OPTIONS")
BACKEND = "taskq_django.TaskqBackend"


@reports()
def check_taskq(**kwargs: Any) -> Iterable[Problem]:
    """The setting ``TASKQ``."""
    from ..worker.run_context import run_context_problem

    found = run_context_problem(right_settings().worker.run_context)
    return [*problems(), *advice(), *([found] if found else [])]


@reports()
def check_framework(**kwargs: Any) -> Iterator[Problem]:
    """Django 5.2 needs the backport of ``django.tasks``."""
    if not has_framework():
        hint = 'Type: pip install "taskq-django[django52]", or upgrade to Django 6.0 or newer.'
        message = "has no django.tasks (it came with 6.0), and its backport django-tasks is not installed."
        yield Problem(f"Django {django.get_version()}", message, hint, "E009")


@reports()
def check_backends(**kwargs: Any) -> Iterator[Problem]:
    """Each alias in ``TASKS`` that has our backend. The only place that reports on them."""
    configured = getattr(settings, "TASKS", {})
    if isinstance(configured, Mapping) and has_framework():
        for alias, params in configured.items():
            if isinstance(params, Mapping):
                yield from _backend_problems(alias, params)


@reports()
def check_tasks(**kwargs: Any) -> Iterator[Problem]:
    """A path must lead to one task, because a job carries only the path."""
    from ..registry import registry

    hint = "Rename one of the two functions, or import the one where the other is."
    for path, first, second in registry.duplicates:
        yield Problem(f"The task path {path}", f"is taken twice: at {first} and at {second}.", hint, "E010")
    hint = "Its tasks are looked for when a job names them, and its schedules are not seen. Install what it needs."
    for module, why in registry.unloaded:
        yield Problem(f"The module {module}", f"cannot be imported: {why}.", hint, "W015")


@reports()
def check_queues(**kwargs: Any) -> Iterator[Problem]:
    """A task must wait in a queue that its backend offers."""
    from ..backend import OFFER, not_offered, our_backends
    from ..compat import task_backends
    from ..registry import registry

    ours: dict[str, Any] = {} if check_backends() else {alias: task_backends[alias] for alias in our_backends()}
    for task in registry.all():
        if (backend := ours.get(task.backend)) and backend.queues and task.queue_name not in backend.queues:
            yield Problem(f"The task {task.module_path}", not_offered(task.queue_name, backend), OFFER, "E017")


@reports()
def check_schedules(**kwargs: Any) -> Iterator[Problem]:
    from ..beat.declared import judged

    for key, task, _, problem in [] if check_backends() else judged():  # without a backend nothing can be judged
        if problem:
            yield Problem(f"The schedule {key!r} of {task.module_path}", f"is wrong: {problem}", "", "E016")


@reports()
def check_schedulable(**kwargs: Any) -> Iterator[Problem]:
    """What lets nobody schedule anything, though it seems to let somebody."""
    from ..registry import registry

    known = {task.module_path: task for task in registry.all()} if has_framework() else {}
    ours = right_settings().admin
    for pattern in ours.schedulable if known else ():
        if not any(fnmatchcase(path, pattern) for path in known):
            message = f'has "{pattern}", and no task of that path is known. {did_you_mean(pattern, known)}'
            hint = "Name tasks by their whole path, as shop.tasks.bill; * stands for any characters."
            yield Problem('TASKQ["ADMIN"]["SCHEDULABLE"]', message.rstrip(), hint, "W017")
    asked: dict[str, Any] = {'TASKQ["ADMIN"]["SCHEDULE_PERMISSION"]': ours.schedule_permission}
    asked |= {f"schedulable of the task {path}": task.schedulable for path, task in known.items()}
    declared = _permissions() if apps.is_installed("django.contrib.auth") else set()
    for where, permission in asked.items():
        if declared and isinstance(permission, str) and permission not in declared:
            message = f'is "{permission}", a permission of no model here. {did_you_mean(permission, declared)}'
            hint = "Who is no superuser may not schedule it. Write app_label.codename, as shop.add_order."
            yield Problem(where, message.rstrip(), hint, "W018")


def _permissions() -> set[str]:
    """By what the models say: the table of permissions may not be there yet."""
    from django.contrib.auth import get_permission_codename

    return {
        f"{meta.app_label}.{name}"
        for meta in (model._meta for model in apps.get_models())
        for name in [get_permission_codename(verb, meta) for verb in meta.default_permissions]
        + [name for name, _ in meta.permissions]
    }


def has_misspelt_backend() -> bool:
    """For the start of the app."""
    return any(message.id == f"{TAG}.E008" for message in check_backends())


def _backend_problems(alias: str, params: Mapping[str, Any]) -> Iterator[Problem]:
    path = params.get("BACKEND")
    try:
        backend = import_string(path) if isinstance(path, str) else None
    except ImportError as error:
        if did_you_mean(str(path), [BACKEND]) or str(path).partition(".")[0] == TAG:
            message = f'is "{path}", which cannot be imported: {error}. Did you mean "{BACKEND}"?'
            yield Problem(f'TASKS["{alias}"]["BACKEND"]', message, "", "E008")
        return
    # Here, because importing it fails where django.tasks is missing.
    from ..backend import TaskqBackend

    if not (isinstance(backend, type) and issubclass(backend, TaskqBackend)):
        return
    yield from (unknown_key(f'TASKS["{alias}"]', key, OF_BACKENDS) for key in params if key not in OF_BACKENDS)
    yield from option_problems(alias, params.get("OPTIONS", {}))
    yield from _queue_problems(alias, params.get("QUEUES", []))


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

"""Which tasks may be scheduled in the admin, and by whom."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from django.http import HttpRequest

from ...conf import taskq_settings
from ...registry import registry
from ...tasks import Task


def may_schedule(user: Any, task: Task[..., Any]) -> bool:
    """Only registered tasks can be asked for; see ``@task(schedulable=…)`` and the settings of the admin."""
    if not _is_schedulable(task):
        return False
    asked = task.schedulable
    permission = taskq_settings().admin.schedule_permission if asked is True else asked
    return permission is None or bool(user.has_perm(permission))


def may_touch(user: Any, task_path: str) -> bool:
    """May this user change or run a schedule of that task? Not of one that is unknown, for it may forbid it.

    Its module is imported first, as for its run.
    """
    task = registry.seek(task_path)
    return task is not None and may_schedule(user, task)


def may_clear_away(user: Any, task_path: str) -> bool:
    """May this user delete, disable or give to another task a schedule whose task is unknown, and be told why it
    cannot run? Superusers, who have every permission that the task could ask for: somebody must be able to.
    """
    return bool(user.is_superuser) and registry.seek(task_path) is None and _is_named(task_path)


def may(model_admin: Any, request: HttpRequest, verb: str, row: Any) -> bool:
    """May this user do that to this schedule? ``verb``: run, enable, disable, duplicate or revert."""
    if verb == "run":
        return bool(model_admin.has_run_permission(request, row))
    task = registry.seek(row.task_path)
    if verb in {"enable", "disable"} and row.declared_as and task is not None and not _is_schedulable(task):
        # The code alone schedules it, but it must have a switch.
        return bool(model_admin.has_change_permission(request))
    if verb == "duplicate":
        return bool(model_admin.has_add_permission(request)) and may_touch(request.user, row.task_path)
    return bool(model_admin.has_change_permission(request, row)) and (task is not None or verb == "disable")


def _is_schedulable(task: Task[..., Any]) -> bool:
    """By anybody at all?"""
    return task.schedulable is not False and _is_named(task.module_path)


def _is_named(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in taskq_settings().admin.schedulable)

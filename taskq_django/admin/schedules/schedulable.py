"""Which tasks may be scheduled in the admin, and by whom."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from ...compat import AnyTask
from ...conf import taskq_settings
from ...registry import registry


def may_schedule(user: Any, task: AnyTask) -> bool:
    """Only registered tasks can be asked for; see ``@task(schedulable=…)`` and the settings of the admin."""
    settings = taskq_settings().admin
    asked = getattr(task, "schedulable", True)
    if asked is False or not any(fnmatchcase(task.module_path, pattern) for pattern in settings.schedulable):
        return False
    permission = settings.schedule_permission if asked is True else asked
    return permission is None or bool(user.has_perm(permission))


def schedulable_tasks(user: Any) -> list[AnyTask]:
    """By path."""
    return [task for task in registry.all() if may_schedule(user, task)]


def may_touch(user: Any, task_path: str) -> bool:
    """May this user change or run a schedule of that task? One whose task is gone is nobody's secret."""
    task = registry.get(task_path)
    return task is None or may_schedule(user, task)

"""A purge of more jobs than a request should wait for."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _t
from django.utils.translation import ngettext

from .. import control
from ..backend import brokers_of
from ..exceptions import ConfigurationError, Discard
from ..results import TaskContext
from .background import background_task, note, user_of


@background_task
def purge_queue(context: TaskContext, alias: str, queue_name: str, user: str) -> int:
    """Remove in the background what waits in a queue, because somebody has asked for it in the admin."""
    by = user_of(user)
    if not by.has_perm("taskq_django.purge_queue"):
        raise Discard(_t("The user who asked for it may not any more: %s.") % "purge")
    try:
        broker = brokers_of((alias,))[alias]
    except ConfigurationError as error:
        raise Discard(str(error)) from error
    context.progress(0, control.count_waiting(queue_name, broker))
    count = control.purge(queue_name, broker)
    said = ngettext("%(count)d job was removed.", "%(count)d jobs were removed.", count) % {"count": count}
    context.progress(count, count, said)
    result: Any = context.task_result
    note(by, result.id, purge_queue.module_path, said)
    return count

"""What an act of the admin needs to go on as a job of this app: to enqueue it, and to know there whose it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _t

from ..backend import brokers_of, home
from ..compat import InvalidTask, InvalidTaskBackend
from ..exceptions import BrokerError, ConfigurationError, Discard
from ..models import JobResult, QueuedJob
from ..status import read_status
from ..store.connections import OUTAGE
from ..tasks import task
from .finding import may_view
from .lists import job_url

MOST_IN_A_REQUEST = 1000  # jobs
REFUSALS = (BrokerError, ConfigurationError, InvalidTask, InvalidTaskBackend, *OUTAGE)
ATTEMPTS = 5  # a database may be away for a while; what was done is not done again
FIRST = 100  # the highest priority


def background_task(function: Callable[..., Any]) -> Any:
    """A task that nobody is offered to run or to schedule, before all that waits: it may be about just that.

    A plain function where no backend of the project is ours.
    """
    if (place := home()) is None:
        return function
    alias, queue_name = place
    return task(
        takes_context=True,
        backend=alias,
        queue_name=queue_name,
        priority=FIRST,
        max_attempts=ATTEMPTS,
        schedulable=False,
    )(function)


def enqueued(task: Any, **call: Any) -> str:
    """The id of the job. Raises one of REFUSALS."""
    if (place := home()) is None:
        raise ConfigurationError(_t("No backend in TASKS is of taskq_django, so nothing runs in the background."))
    alias, queue_name = place
    job_id: str = task.using(backend=alias, queue_name=queue_name).enqueue(**call).id
    return job_id


def where(model_admin: Any, request: HttpRequest, job_id: str, what: str) -> SafeString:
    """That it goes on, and where that can be watched."""
    shown: Any = job_id
    if may_view(model_admin, request, QueuedJob) and model_admin.admin_site.is_registered(JobResult):  # it has the page
        shown = format_html('<a href="{}">{}</a>', job_url(model_admin.admin_site.name, job_id), job_id)
    return format_html(_t("{} goes on in the background, as job {}."), what, shown)


def why_it_waits() -> str:
    """ "" where a worker will come to it."""
    alias, queue_name = cast("tuple[str, str]", home())
    status = read_status(brokers_of((alias,)).values(), ended=False)
    named = {"queue": queue_name, "command": "manage.py taskq_worker"}
    if not any(worker.claims(alias, queue_name) for worker in status.workers):
        text = _t("No worker is alive that serves the queue %(queue)s: it waits until you start one, by %(command)s.")
        return text % named
    if any(queue.paused for queue in status.queues if queue.queue == queue_name):
        return _t("The queue %(queue)s is paused: it waits until that is resumed.") % named
    return ""


def user_of(key: str) -> Any:
    """Who has asked for it. Raises Discard where they are gone, or may open no admin any more."""
    users = get_user_model()
    try:
        user = users._default_manager.get(pk=key)
    except (users.DoesNotExist, ValueError, ValidationError):
        user = None
    if user is None or not (user.is_active and user.is_staff):
        raise Discard(_t("The user who asked for it may not any more."))
    return user


def note(user: Any, job_id: str, task_path: str, text: str) -> None:
    """In the history of the job that does it."""
    LogEntry.objects.log_actions(user.pk, [JobResult(id=job_id, task_path=task_path)], CHANGE, text)

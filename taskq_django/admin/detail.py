"""The page of one job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from ..backend import brokers_of, our_backends
from ..exceptions import TaskqError, one_line
from ..handles import story_of
from ..jobs import headers_of
from ..models import JobResult, QueuedJob
from ..states import LIVE, State
from ..store.stories import FailedAttempt, Story, read_stories
from . import display

if TYPE_CHECKING:
    from .lists import JobListAdmin

APP = "taskq_django"
FAILURES_SHOWN = 20  # with their tracebacks; a job may have a thousand


def job_page(model_admin: JobListAdmin, request: HttpRequest, job_id: UUID) -> TemplateResponse:
    """For users who may view the list that the job is in; 404 for an id that neither a table nor a broker knows."""
    results, queued = (_may_view(model_admin, request, model) for model in (JobResult, QueuedJob))
    if not (results or queued):
        raise PermissionDenied
    story = _find(str(job_id))
    if not (queued if story.status in LIVE else results):
        raise PermissionDenied
    context = {
        **model_admin.admin_site.each_context(request),
        "title": story.task_path,
        "opts": model_admin.opts,
        "story": story,
        "badge": display.badge(story.status),
        "facts": _facts(story),
        "arguments": display.pretty_arguments(story.payload, story.task_path, story.headers),
        "value": display.pretty_value(story.return_value, story.task_path, story.headers),
        "message": display.cut(story.message, display.LONGEST),
        **_errors(story),
        "media": model_admin.media,
        "list_model": "queuedjob" if story.status in LIVE else "jobresult",
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/taskq_django/job.html", context)


def _find(job_id: str) -> Story:
    """As it is stored, or as the broker knows it that it waits in. Raises Http404."""
    database = router.db_for_read(JobResult)
    if story := read_stories([job_id], database).get(job_id):
        return story
    unanswered = []
    for alias in our_backends():
        try:
            if found := brokers_of((alias,))[alias].find([job_id]):
                return story_of(found[job_id])
        except TaskqError as error:
            unanswered.append(one_line(error))
    if story := read_stories([job_id], database).get(job_id):  # it has ended meanwhile
        return story
    raise Http404(" ".join([_("There is no job with this id."), *unanswered]))


def _may_view(model_admin: JobListAdmin, request: HttpRequest, model: type[Any]) -> bool:
    """As the list of these says, where the site has one."""
    if model_admin.admin_site.is_registered(model):
        return model_admin.admin_site.get_model_admin(model).has_view_permission(request)
    return request.user.has_perm(f"{APP}.view_{model._meta.model_name}")


def _errors(story: Story) -> dict[str, Any]:
    """What the job failed with, if it has, and the failed attempts before it."""
    last = story.failures[-1] if story.failures else None
    if story.status == State.SUCCESSFUL:
        last = None
    elif story.exception_class and (last is None or last.exception_class != story.exception_class):
        # It has ended without an attempt of its own to tell of it: no row, or a row that is gone.
        last = None
    earlier = [failure for failure in story.failures if failure is not last]
    return {
        "error": last and _cut(last),
        "earlier_failures": [_cut(failure) for failure in reversed(earlier[-FAILURES_SHOWN:])],
        "left_out": max(0, len(earlier) - FAILURES_SHOWN),
    }


def _cut(failure: FailedAttempt) -> FailedAttempt:
    return replace(
        failure,
        message=display.cut(failure.message, display.LONGEST),
        traceback=display.cut_middle(failure.traceback),
    )


def _facts(story: Story) -> list[tuple[str, Any]]:
    facts = [
        (_("Id"), story.id),
        (_("Queue"), story.queue_name),
        (_("Priority"), story.priority),
        (_("Backend"), story.backend),
        (_("Enqueued"), display.moment(story.enqueued_at)),
        (_("Schedule"), _schedule_name(story.headers)),
        (_("Not before"), story.run_after and display.moment(story.run_after)),
        (_("First started"), display.moment(story.started_at)),
        (_("Last attempt"), display.moment(story.last_attempted_at)),
        (_("Finished"), display.moment(story.finished_at)),
        (_("Waited"), display.duration(story.enqueued_at, story.started_at)),
        (_("Duration"), display.duration(story.last_attempted_at, story.finished_at)),
        (_("Attempts"), story.attempts),
        (_("Worker"), story.worker_id or "–"),
    ]
    return [(name, fact) for name, fact in facts if fact not in {"", None}]


def _schedule_name(headers: str) -> str:
    """Of the schedule that has made the job, and the slot; "" for none. The text may be by another hand."""
    try:
        made_by = (headers_of(headers) or {})["schedule"]
        return display.cut(f"{made_by['name']} ({made_by['slot']})", 300)
    except (KeyError, TypeError):
        return ""

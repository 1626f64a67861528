"""The job that a page is about, whichever table or engine it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from ..backend import brokers_of, our_backends
from ..exceptions import TaskqError, one_line
from ..handles import story_of
from ..models import JobResult, QueuedJob
from ..states import LIVE
from ..store.stories import Story, read_stories

if TYPE_CHECKING:
    from .lists import JobListAdmin

APP = "taskq_django"


def story_for(model_admin: JobListAdmin, request: HttpRequest, job_id: UUID | str) -> Story:
    """As it is stored, or as its broker knows it. Raises PermissionDenied, and Http404."""
    results, queued = (may_view(model_admin, request, model) for model in (JobResult, QueuedJob))
    if not (results or queued):
        raise PermissionDenied
    story = _find(str(job_id))
    if not (queued if story.status in LIVE else results):
        raise PermissionDenied
    return story


def page_after(model_admin: JobListAdmin, request: HttpRequest, job_id: UUID | str) -> str:
    """The address of the job's page; of the list that the user may view, if an act has moved the job to the other."""
    site = model_admin.admin_site
    try:
        story_for(model_admin, request, job_id)
    except PermissionDenied:
        model = JobResult if may_view(model_admin, request, JobResult) else QueuedJob
        is_there = site.is_registered(model)
        return reverse(f"{site.name}:{APP}_{model._meta.model_name}_changelist" if is_there else f"{site.name}:index")
    except Http404:  # its page says why
        pass
    return reverse(f"{site.name}:{APP}_job", args=[job_id])


def _find(job_id: str) -> Story:
    database = store()
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


def store() -> str:
    """The database that pages read."""
    return router.db_for_read(JobResult)


def may_view(model_admin: JobListAdmin, request: HttpRequest, model: type[Any]) -> bool:
    """As the list of these says, where the site has one."""
    if model_admin.admin_site.is_registered(model):
        return model_admin.admin_site.get_model_admin(model).has_view_permission(request)
    return request.user.has_perm(f"{APP}.view_{model._meta.model_name}")

"""Jobs that have ended."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils.translation import gettext_lazy as _

from ..models import JobResult
from . import display
from .detail import job_page
from .filters import QueueFilter, StateFilter, TaskFilter
from .lists import JobListAdmin


@admin.register(JobResult)
class JobResultAdmin(JobListAdmin):
    list_display = (
        "task",
        "state_badge",
        "queue_name",
        "enqueued",
        "waited",
        "took",
        "attempts",
    )
    list_filter = (StateFilter, TaskFilter, QueueFilter)
    indexed = ("status", "task_path")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("payload", "headers", "return_value", "message")

    def get_urls(self) -> list[Any]:
        # One page per job, whichever table it is in: its address stays when the job ends.
        view = self.admin_site.admin_view(partial(job_page, self))
        return [path("job/<uuid:job_id>/", view, name="taskq_django_job"), *super().get_urls()]

    @admin.display(description=_("waited"))
    def waited(self, row: JobResult) -> str:
        return display.duration(row.enqueued_at, row.started_at)

    @admin.display(description=_("duration"))
    def took(self, row: JobResult) -> str:
        return display.duration(row.last_attempted_at, row.finished_at)

"""Jobs that have ended."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..models import JobResult
from . import display
from .actions import on_selected
from .again import job_again
from .detail import job_act, job_page
from .filters import QueueFilter, StateFilter, TaskFilter
from .job_verbs import VERBS
from .lists import JobListAdmin


@admin.register(JobResult)
class JobResultAdmin(JobListAdmin):
    list_display = (
        "task",
        "state_badge",
        "error",
        "queue_name",
        "enqueued",
        "waited",
        "took",
        "attempts",
    )
    list_filter = (StateFilter, TaskFilter, QueueFilter)
    actions: Any = (on_selected("retry"), on_selected("delete"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("taskq_django.delete_jobresult")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer("payload", "headers", "return_value", "message")
        annotated: QuerySet[Any] = rows.annotate(shown_message=Substr("message", 1, display.SHOWN_MESSAGE))
        return annotated

    def get_urls(self) -> list[Any]:
        # One page per job, whichever table it is in: its address stays when the job ends.
        view, at = self.admin_site.admin_view, "job/<uuid:job_id>/"
        own = [
            path(at, view(partial(job_page, self)), name="taskq_django_job"),
            path(f"{at}again/", view(partial(job_again, self)), name="taskq_django_job_again"),
            *[
                path(f"{at}{verb}/", view(partial(job_act, self)), {"verb": verb}, name=f"taskq_django_job_{verb}")
                for verb in VERBS
            ],
        ]
        return [*own, *super().get_urls()]

    @admin.display(description=_("error"), empty_value="")
    def error(self, row: Any) -> SafeString | str:
        """The exception and its message; of what was cancelled the reason."""
        message = display.short_message(row.shown_message) if row.is_open else "…" * bool(row.shown_message)
        if not row.exception_class:
            return format_html('<span class="taskq-why" dir="auto" title="{0}">{0}</span>', message) if message else ""
        return format_html(
            '<span class="taskq-why" dir="auto" title="{path}: {message}"><strong>{name}</strong><br>{message}</span>',
            path=row.exception_class,
            name=display.class_name(row.exception_class),
            message=message,
        )

    @admin.display(description=_("waited"))
    def waited(self, row: JobResult) -> str:
        return display.duration(row.enqueued_at, row.started_at)

    @admin.display(description=_("duration"))
    def took(self, row: JobResult) -> str:
        return display.duration(row.last_attempted_at, row.finished_at)

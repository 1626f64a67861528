"""Jobs that wait or run: the rows, and what waits in engines."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ..models import QueuedJob
from . import display, outside
from .filters import QueueFilter, StateFilter, TaskFilter
from .lists import JobListAdmin


@admin.register(QueuedJob)
class QueuedJobAdmin(JobListAdmin):
    list_display = (
        "task",
        "state_badge",
        "queue_name",
        "job_priority",
        "enqueued",
        "waiting",
        "attempts",
    )
    list_filter = (StateFilter, TaskFilter, QueueFilter)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = dict(extra_context or {})
        if self.has_view_permission(request):
            context["taskq_engines"] = outside.engines(request.GET, self.admin_site.name)
        return super().changelist_view(request, context)

    @admin.display(description=_("priority"))
    def job_priority(self, row: QueuedJob) -> int:
        return row.priority

    @admin.display(description=_("waiting"))
    def waiting(self, row: QueuedJob) -> str:
        if row.status == "SCHEDULED":
            return _t("due in %s") % display.duration(timezone.now(), row.available_at)
        return display.duration(row.available_at, row.claimed_at or max(row.available_at, timezone.now()))

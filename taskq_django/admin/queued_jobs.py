"""Jobs that wait or run: the rows, and what waits in engines."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..models import QueuedJob
from ..states import State
from . import display, outside
from .actions import on_selected
from .filters import QueueFilter, StateFilter, TaskFilter
from .lists import JobListAdmin


@admin.register(QueuedJob)
class QueuedJobAdmin(JobListAdmin):
    change_list_template = "admin/taskq_django/queuedjob/change_list.html"
    list_display = (
        "task",
        "state_badge",
        "queue_name",
        "job_priority",
        "enqueued",
        "due",
        "waiting",
        "attempts",
    )
    list_filter = (StateFilter, TaskFilter, QueueFilter)
    actions: Any = (on_selected("cancel"), on_selected("run"), on_selected("reschedule"))
    sortable_by: ClassVar[Any] = ("enqueued", "due", "job_priority")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = dict(extra_context or {})
        if self.has_view_permission(request):
            may_see = self.has_payload_permission(request)
            context["taskq_engines"] = outside.engines(request.GET, self.admin_site.name, may_see_payload=may_see)
        return super().changelist_view(request, context)

    @admin.display(description=_("priority"), ordering="-rank")
    def job_priority(self, row: QueuedJob) -> int:
        return row.priority

    @admin.display(description=_("due"), ordering="available_at")
    def due(self, row: QueuedJob) -> SafeString | str:
        return display.when(row.available_at)

    @admin.display(description=_("waiting"))
    def waiting(self, row: QueuedJob) -> str:
        if row.status == State.SCHEDULED:
            return "–"
        return display.duration(row.available_at, row.claimed_at or max(row.available_at, timezone.now()))

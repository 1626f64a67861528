"""Jobs that wait or run."""

from __future__ import annotations

from django.contrib import admin
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..models import QueuedJob
from . import display
from .filters import LiveStateFilter, QueueFilter, TaskFilter
from .lists import JobListAdmin


@admin.register(QueuedJob)
class QueuedJobAdmin(JobListAdmin):
    list_display = (
        "task",
        "state_badge",
        "arguments",
        "queue_name",
        "job_priority",
        "enqueued",
        "due",
        "waited",
        "attempts",
        "worker",
        "short_id",
    )
    list_filter = (LiveStateFilter, TaskFilter, QueueFilter)

    @admin.display(description=_("priority"))
    def job_priority(self, row: QueuedJob) -> int:
        return row.priority

    @admin.display(description=_("due"))
    def due(self, row: QueuedJob) -> str:
        return display.moment(row.available_at) if row.status == "SCHEDULED" else "–"

    @admin.display(description=_("waiting"))
    def waited(self, row: QueuedJob) -> str:
        return display.duration(row.available_at, row.claimed_at or max(row.available_at, timezone.now()))

    @admin.display(description=_("worker"))
    def worker(self, row: QueuedJob) -> str:
        return row.worker_id or "–"

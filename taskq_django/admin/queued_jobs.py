"""Jobs that wait or run."""

from __future__ import annotations

from django.contrib import admin
from django.utils import timezone
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ..models import QueuedJob
from . import display
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

    @admin.display(description=_("priority"))
    def job_priority(self, row: QueuedJob) -> int:
        return row.priority

    @admin.display(description=_("waiting"))
    def waiting(self, row: QueuedJob) -> str:
        if row.status == "SCHEDULED":
            return _t("due in %s") % display.duration(timezone.now(), row.available_at)
        return display.duration(row.available_at, row.claimed_at or max(row.available_at, timezone.now()))

"""Filters of the list of schedules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ...models.moments import DatabaseNow

OVERDUE = timedelta(seconds=15)  # a beat would have fired it by then
MOST_TASKS = 100


class EnabledFilter(SimpleListFilter):
    title = _("enabled")
    parameter_name = "enabled"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        return [("yes", _("Yes")), ("no", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(enabled=self.value() == "yes")


class ScheduleStateFilter(SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        return [("broken", _("Broken")), ("overdue", _("Overdue")), ("finished", _("Finished")), ("code", _("In code"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "broken":
                return queryset.filter(enabled=True).exclude(broken="")
            case "overdue":
                return queryset.filter(enabled=True, next_run_at__lt=DatabaseNow(-OVERDUE.total_seconds()))
            case "finished":
                return queryset.filter(enabled=True, is_finished=True)
            case "code":
                return queryset.exclude(declared_as="")
            case _:
                return queryset


class ScheduledTaskFilter(SimpleListFilter):
    title = _("task")
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        """Those that have schedules, registered or not."""
        paths = model_admin.model._default_manager.order_by("task_path").values_list("task_path", flat=True).distinct()
        return [(path, path) for path in paths[:MOST_TASKS]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        path = self.value()
        return queryset if path is None or "\0" in path else queryset.filter(task_path=path)

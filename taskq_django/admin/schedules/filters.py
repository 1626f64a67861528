"""Filters of the list of schedules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ...models.moments import DatabaseNow
from ..filters import MOST_KEYS
from .history import failing

OVERDUE = timedelta(seconds=15)  # a beat would have fired it by then
MOST_TASKS = 100
FAILING = "failing"


class _Conditions(SimpleListFilter):
    """Each choice has a name, a label and a condition."""

    conditions: Mapping[str, tuple[Any, Q]]

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        return [(name, label) for name, (label, _condition) in self.conditions.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        _label, condition = self.conditions.get(self.value() or "", ("", Q()))
        return queryset.filter(condition)


class EnabledFilter(_Conditions):
    title = _("enabled")
    parameter_name = "enabled"
    conditions = {"yes": (_("Yes"), Q(enabled=True)), "no": (_("No"), Q(enabled=False))}


class ScheduleStateFilter(_Conditions):
    title = _("state")
    parameter_name = "state"
    conditions = {
        "broken": (_("Broken"), Q(enabled=True) & ~Q(broken="")),
        "overdue": (_("Overdue"), Q(enabled=True, next_run_at__lt=DatabaseNow(-OVERDUE.total_seconds()))),
        "finished": (_("Finished"), Q(enabled=True, is_finished=True)),
        "code": (_("In code"), ~Q(declared_as="")),
    }

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        return [*super().lookups(request, model_admin), (FAILING, _("Last run failed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != FAILING:
            return super().queryset(request, queryset)
        # By their keys, because the list asks twice: how many they are, and for a page of them.
        return queryset.filter(pk__in=list(failing(queryset).values_list("pk", flat=True)[:MOST_KEYS]))


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

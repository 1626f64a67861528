"""Filters with fixed choices: none of them asks the database which values there are.

A filter that has no index looks at the newest rows only, so that no page reads a million.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..registry import registry

NEWEST = 50_000


def newest(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Only the newest rows of the table, by the time that an id begins with: one probe of the primary key."""
    keys = queryset.model._default_manager.using(queryset.db).order_by("-pk").values_list("pk", flat=True)
    oldest = keys[NEWEST : NEWEST + 1].first()
    return queryset if oldest is None else queryset.filter(pk__gt=oldest)


class _Choice(SimpleListFilter):
    field: str

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: ModelAdmin[Any]) -> None:
        super().__init__(request, params, model, model_admin)
        self.indexed = self.field in getattr(model_admin, "indexed", ())
        if not self.indexed:
            self.title = _("%(what)s, in the newest 50,000 jobs") % {"what": self.title}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        # NUL is in no row, and PostgreSQL refuses to be asked for it.
        if "\0" in value:
            return queryset.none()
        return (queryset if self.indexed else newest(queryset)).filter(**{self.field: value})


class StateFilter(_Choice):
    title = _("status")
    parameter_name = "status"
    field = "status"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        status: Any = model_admin.opts.get_field("status")
        return list(status.choices)


class TaskFilter(_Choice):
    title = _("task")
    parameter_name = "task"
    field = "task_path"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        return [(task.module_path, task.module_path) for task in registry.all()]


class QueueFilter(_Choice):
    title = _("queue")
    parameter_name = "queue"
    field = "queue_name"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        names = {task.queue_name for task in registry.all()}
        for params in settings.TASKS.values():
            queues = params.get("QUEUES")
            names.update(queues if isinstance(queues, (list, tuple, set, frozenset)) else ())
        return [(name, name) for name in sorted(names)]

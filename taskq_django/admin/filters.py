"""Filters with fixed choices: none of them asks the database which values there are.

A filter that has no index looks at the newest rows only, so that no page reads a million. Of two that have one the
second looks at the newest rows of the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.views.main import ORDER_VAR, PAGE_VAR
from django.db.models import Model, QuerySet, Value
from django.db.models.functions import Concat
from django.http import HttpRequest
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ..backend import our_backends
from ..conf import taskq_settings
from ..models import JobResult, QueuedJob
from ..models.indexes import Said
from ..registry import registry
from ..states import State

NEWEST = 50_000
FEW = 100  # rows that are looked for once, and then asked for by their keys
CUT = "is_of_newest"  # what marks rows that are of the newest already
MOST_KEYS = 10_000  # that one statement names
INDEXED = {JobResult: ("status", "task_path")}  # fields that may be looked for in every row of a table


def newest(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Only the newest of these rows, by the time that an id begins with: one walk along the index that they have.

    Of what is of the newest already it is all: to walk again would read each row for the conditions since.
    """
    if CUT in queryset.query.annotations:
        return queryset
    keys = queryset.order_by("-pk").values_list("pk", flat=True)
    oldest = keys[NEWEST : NEWEST + 1].first()
    newer = queryset if oldest is None else queryset.filter(pk__gt=oldest)
    marked: QuerySet[Any] = newer.alias(**{CUT: Value(oldest is not None)})
    return marked


def is_cut(queryset: QuerySet[Any]) -> bool:
    """Have older rows been left out of it by ``newest``?"""
    cut: Any = queryset.query.annotations.get(CUT)
    return cut is not None and bool(cut.value)


def by_keys(queryset: QuerySet[Any], every: QuerySet[Any]) -> QuerySet[Any]:
    """The same rows of ``every``, by their keys if they are few of the newest: what looks for them reads all those.

    A page would do so twice, to count and to show them. Where they are many it soon has found what it needs.
    """
    if CUT not in queryset.query.annotations:
        return queryset
    keys = list(queryset.order_by("-pk").values_list("pk", flat=True)[: FEW + 1])
    return queryset if len(keys) > FEW else every.filter(pk__in=keys).order_by(*queryset.query.order_by)


def narrowed(queryset: QuerySet[Any], field: str, value: str) -> QuerySet[Any]:
    """Those with this value; among the newest, unless an index leads to all of them."""
    is_first = field in INDEXED.get(queryset.model, ()) and not queryset.query.where
    # Else not by the index of this field: it may lead to a million rows, of which the other condition leaves three.
    asked = field if is_first else f"plain_{field}"
    rows = queryset if is_first else newest(queryset).alias(**{asked: Concat(field, Value(""))})
    found: QuerySet[Any] = rows.filter(**{asked: value})
    return found


def of_status(rows: QuerySet[Any], status: str) -> QuerySet[Any]:
    """Those of a known status, by the index of it: of live jobs that one is of a backend."""
    if rows.model is QueuedJob:
        rows = rows.filter(backend__in=our_backends())
    return rows.filter(status=Said(State(status)))


class Choice(SimpleListFilter):
    """One of the selects above the list."""

    field: str
    template = "admin/taskq_django/above_the_list.html"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:  # of a select in which nothing is chosen
            return queryset
        # NUL is in no row, and PostgreSQL refuses to be asked for it.
        return queryset.none() if "\0" in value else narrowed(queryset, self.field, value)

    @property
    def options(self) -> Iterator[tuple[str, str, bool]]:
        """Value, text, and is it chosen? What an address has chosen is among them, if no other page offers it."""
        chosen = self.value() or ""
        yield "", _t("All"), not chosen
        known = [(str(value), str(label)) for value, label in self.lookup_choices]
        if chosen and chosen not in dict(known):
            yield chosen, chosen, True
        for value, label in known:
            yield value, label, value == chosen


class StateFilter(Choice):
    """Its choices are the tabs above the list."""

    title = _("status")
    parameter_name = "status"
    field = "status"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Of live jobs the index knows no order by id, and those that run may be the oldest of all.

        So as many as a list counts are chosen by their keys. Where there are more, and something else is asked for, it
        is looked for among the newest: those keys may all be of another queue.
        """
        value = self.value()
        if queryset.model is not QueuedJob or not value:
            return super().queryset(request, queryset)
        if value not in State.values:
            return queryset.none()
        most = min(taskq_settings().admin.count_limit, MOST_KEYS) + 1
        keys = list(of_status(queryset, value).order_by().values_list("pk", flat=True)[:most])
        others = request.GET.keys() - {self.parameter_name, ORDER_VAR, PAGE_VAR}
        if len(keys) == most and any(request.GET[name] for name in others):
            return super().queryset(request, queryset)
        return queryset.filter(pk__in=keys)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        status: Any = model_admin.opts.get_field("status")
        return list(status.choices)


class TaskFilter(Choice):
    title = _("task")
    parameter_name = "task"
    field = "task_path"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        return [(task.module_path, task.module_path) for task in registry.all()]


class QueueFilter(Choice):
    title = _("queue")
    parameter_name = "queue"
    field = "queue_name"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Model]) -> list[tuple[str, Any]]:
        names = {task.queue_name for task in registry.all()}
        for params in settings.TASKS.values():
            queues = params.get("QUEUES")
            names.update(queues if isinstance(queues, (list, tuple, set, frozenset)) else ())
        return [(name, name) for name in sorted(names)]

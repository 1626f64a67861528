"""Acts on more jobs than a request should wait for: a job of this app does them, in the project's workers.

It is bound to what the list has matched when it was asked: by the list's own filters, the first and the last id, and of
results by the moment, because a job that is retried and fails again has the id that it had. So it may run again after
its process was killed: what it has done is no more among what it looks for, or is done again to no effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.sites import all_sites
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import get_resolver
from django.utils.formats import number_format
from django.utils.translation import gettext as _t

from ..backend import brokers_of
from ..exceptions import ConfigurationError, Discard, one_line
from ..models import JobResult, QueuedJob
from ..models.indexes import Said
from ..models.moments import as_orm_has, database_now
from ..results import TaskContext
from ..states import State
from .background import (
    REFUSALS,
    background_task,
    enqueued,
    note,
    user_of,
    where,
    why_it_waits,
)
from .filters import QueueFilter, StateFilter, TaskFilter
from .job_verbs import AT_ONCE, SAID, VERBS, Chosen, Order, Verb, batched, by_backend

SPAN = 1000  # rows of a table that one statement looks at; no more than a search reads the texts of

MODELS: dict[str, Any] = {"jobresult": JobResult, "queuedjob": QueuedJob}
FILTERS = {"status": StateFilter, "task": TaskFilter, "queue": QueueFilter}
FIELDS = {"task": "task_path", "queue": "queue_name"}
NO_CHOICE = {ORDER_VAR, PAGE_VAR, ALL_VAR}  # parameters of a list that choose no rows


def filters_of(model_admin: Any, request: HttpRequest) -> dict[str, str] | None:
    """What the list is chosen by, as plain values; None where a filter of the project's own has chosen, too."""
    chosen = {name: str(value) for name, value in request.GET.items() if value and name not in NO_CHOICE}
    known = model_admin.get_list_filter(request)
    if any(name != SEARCH_VAR and FILTERS.get(name) not in known for name in chosen):
        return None
    return chosen


def ask(
    model_admin: Any,
    request: HttpRequest,
    rows: QuerySet[Any],
    verb: str,
    filters: dict[str, str],
    count: str,
    due: datetime | None,
) -> None:
    """Let the background do this to ``rows``, which these filters have chosen, and say so. ``count``: for people."""
    every = model_admin.get_queryset(request).order_by("pk").values_list("pk", flat=True)
    # Of live jobs of one status ``rows`` are as many as a list counts; else none is older than the first of them.
    is_whole = model_admin.model is QueuedJob and filters.keys() == {"status"}
    first = None if is_whole else rows.order_by("pk").values_list("pk", flat=True).first()
    last = every.last()
    if last is None or (first is None and not is_whole):  # they are gone meanwhile
        return
    call = {
        "site": model_admin.admin_site.name,
        "model": model_admin.opts.model_name,
        "verb": verb,
        "user": str(request.user.pk),
        "filters": filters,
        "first": first,
        "last": last,
        "asked_at": database_now(every.db),
        "due": due,
    }
    try:
        job_id = enqueued(act_on_many, **call)
    except REFUSALS as error:
        messages.error(request, one_line(error))
    else:
        label = str(VERBS[verb].label)
        said = ", ".join(f"{name}={value}" for name, value in filters.items()) or _t("all of the list")
        asked = {"verb": label, "count": count, "model": model_admin.opts.verbose_name_plural, "filters": said}
        text = _t("Asked for: %(verb)s, %(count)s %(model)s (%(filters)s).") % asked
        note(request.user, job_id, act_on_many.module_path, text)
        what = _t("%(verb)s of %(count)s jobs") % {"verb": label, "count": count}
        messages.success(request, where(model_admin, request, job_id, what))
        if problem := why_it_waits():
            messages.warning(request, problem)


@dataclass(frozen=True, slots=True)
class Matched:
    """The rows that a list has matched at a moment."""

    model_admin: Any
    request: HttpRequest
    filters: dict[str, str]
    first: UUID | None
    last: UUID
    asked_at: datetime

    @property
    def _table(self) -> QuerySet[Any]:
        """As far as the list shows it to this user."""
        rows: QuerySet[Any] = self.model_admin.get_queryset(self.request)
        return rows

    def spans(self) -> Iterator[tuple[UUID, UUID]]:
        """First and last id of rows that lie together, by a walk along an index; SPAN rows, or fewer that match."""
        rows = self._table.filter(pk__lte=self.last).order_by("pk")
        if self.first is not None:
            rows = rows.filter(pk__gte=self.first)
        if rows.model is JobResult and (status := self.filters.get("status")):  # it has an index of both
            rows = rows.filter(status=Said(State(status)))
        at: UUID | None = None
        while keys := list((rows if at is None else rows.filter(pk__gt=at)).values_list("pk", flat=True)[:SPAN]):
            at = keys[-1]
            yield keys[0], at

    def between(self, first: UUID, last: UUID) -> QuerySet[Any]:
        """Those of a span."""
        rows = self._table.filter(pk__gte=first, pk__lte=last)
        if rows.model is JobResult:  # not what has ended since, also again
            rows = rows.filter(finished_at__lte=as_orm_has(self.asked_at))
        if status := self.filters.get("status"):
            rows = rows.filter(status=status)
        rows = rows.filter(**{field: self.filters[name] for name, field in FIELDS.items() if name in self.filters})
        if term := self.filters.get(SEARCH_VAR):
            rows, _ = self.model_admin.get_search_results(self.request, rows, term)
        return rows

    def jobs(self, first: UUID, last: UUID) -> list[Chosen]:
        found = self.between(first, last).order_by("pk").values_list("id", "backend", "task_path")
        return [Chosen(str(id_), backend, path) for id_, backend, path in found]


@background_task
def act_on_many(
    context: TaskContext,
    site: str,
    model: str,
    verb: str,
    user: str,
    filters: dict[str, str],
    first: UUID | None,
    last: UUID,
    asked_at: datetime,
    due: datetime | None = None,
) -> dict[str, int]:
    """Do in the background what somebody has asked for in the admin, to all jobs that a list matched then.

    Returns to how many of them, by what came of it.
    """
    model_admin, request = _door(site, model, user, verb)
    _check(filters, verb, due)
    matched = Matched(model_admin, request, filters, first, last, asked_at)
    counts = Counter[str]()
    try:
        _act(context, VERBS[verb], matched, Order(request.user.get_username(), due), counts)
    finally:  # also of what was cancelled half-way
        result: Any = context.task_result
        note(request.user, result.id, act_on_many.module_path, _said(counts) or _t("Nothing was left to be done."))
    return dict(counts)


def _act(context: TaskContext, verb: Verb, matched: Matched, order: Order, counts: Counter[str]) -> None:
    spans = list(matched.spans())
    total = sum(matched.between(*span).count() for span in spans)
    seen = 0
    context.progress(0, total)
    for span in spans:
        for alias, group in by_backend(matched.jobs(*span)).items():
            for some in batched(group, AT_ONCE):
                if context.is_cancelled:
                    raise Discard(_t("It was cancelled; what was done before stays."))
                done = _done(verb, [job.id for job in some], alias, order)
                counts.update(done)
                counts["left"] += len(some) - sum(done.values())
                seen += len(some)
                context.progress(min(seen, total), total, _said(counts))


def _done(verb: Verb, ids: list[str], alias: str, order: Order) -> dict[str, int]:
    try:
        broker = brokers_of((alias,))[alias]
    except ConfigurationError:  # a backend that is gone
        return {}
    return {done.said: len(done.ids) for done in verb.act(ids, broker, order)}


def _said(counts: Counter[str]) -> str:
    told = [str(SAID[said] % {"count": count}) for said, count in counts.items() if said in SAID and count]
    if left := counts["left"]:
        told.append(_t("Left alone, because they have changed: %s.") % number_format(left, force_grouping=True))
    return " ".join(told)


def _door(site: str, model: str, user: str, verb: str) -> tuple[Any, HttpRequest]:
    """The list, and a request to it by its user. Raises Discard where they may not do this any more."""
    request = HttpRequest()
    request.user = user_of(user)
    model_admin = _list_of(site, model)
    if model_admin is None or not model_admin.admin_site.has_permission(request):
        raise Discard(_t("The list of the admin in which it was asked for is gone: %s.") % site)
    may_view = model_admin.has_view_permission(request)
    if not may_view or f"{verb}_selected" not in model_admin.get_actions(request):
        raise Discard(_t("The user who asked for it may not any more: %s.") % verb)
    return model_admin, request


def _list_of(site: str, model: str) -> Any:
    for look in (lambda: None, lambda: get_resolver().url_patterns):  # a project may make its site beside its addresses
        look()
        for each in list(all_sites):
            if each.name == site and model in MODELS and each.is_registered(MODELS[model]):
                return each.get_model_admin(MODELS[model])
    return None


def _check(filters: dict[str, str], verb: str, due: datetime | None) -> None:
    """It may have been enqueued by hand. Raises Discard."""
    unknown = filters.keys() - {*FILTERS, SEARCH_VAR}
    if unknown or filters.get("status", State.READY) not in State.values or "\0" in "".join(filters.values()):
        raise Discard(_t("These are no filters of the list."))
    if VERBS[verb].takes_time and due is None:
        raise Discard(_t("Say when, like 2030-12-24 18:00."))

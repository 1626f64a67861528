"""The actions of the lists: what the list has chosen, and what is asked before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import ngettext

from ..conf import taskq_settings
from . import background, many
from .job_verbs import VERBS, Chosen, Refused, act, order_of
from .lists import CappedPaginator


def on_selected(name: str) -> Callable[..., HttpResponse | None]:
    """The action of a list. Where something is asked before, its form comes first.

    What is too much for one request goes on in the background. Where the list is chosen from in a way that cannot
    travel there, the act is on as many jobs as the list counts.
    """
    verb = VERBS[name]

    @admin.action(description=verb.label, permissions=[verb.permission])
    def act_on_rows(model_admin: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        counted = CappedPaginator(rows, 1)
        is_much = counted.count > background.MOST_IN_A_REQUEST or counted.has_more
        filters = many.filters_of(model_admin, request) if is_much else None
        if (verb.question or filters is not None) and "confirmed" not in request.POST:
            return _asked_before(model_admin, request, name, counted, filters is not None)
        if filters is not None:
            _go_on(model_admin, request, rows, name, filters, str(counted))
            return None
        found = rows.values_list("id", "backend", "task_path")[: taskq_settings().admin.count_limit]
        act(request, verb, [Chosen(str(id_), backend, path) for id_, backend, path in found])
        return None

    act_on_rows.__name__ = f"{name}_selected"  # by which the form of the list asks for it
    return act_on_rows


def _go_on(
    model_admin: Any, request: HttpRequest, rows: QuerySet[Any], name: str, filters: dict[str, str], count: str
) -> None:
    try:
        due = order_of(request, VERBS[name]).due
    except Refused as refusal:
        messages.error(request, str(refusal))
        return
    many.ask(model_admin, request, rows, name, filters, count, due)


def _asked_before(
    model_admin: Any, request: HttpRequest, name: str, counted: CappedPaginator, is_much: bool
) -> HttpResponse:
    title = ngettext("%(verb)s %(count)s job", "%(verb)s %(count)s jobs", counted.count)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title % {"verb": VERBS[name].label, "count": str(counted)},
        "opts": model_admin.opts,
        "verb": VERBS[name],
        "is_much": is_much,
        "action": f"{name}_selected",
        "across": request.POST.get("select_across", "0"),
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "keys": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
        "zone": timezone.get_current_timezone_name(),
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/taskq_django/asked_before.html", context)

"""What the pages share that are no lists of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.translation import gettext as _t

ACTS_SHOWN = 10
FRAGMENT = "_fragment"  # the parameter by which a page asks for the part of itself that changes


class Refused(Exception):
    """It cannot be done; the message is for people."""


class PageAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """One page in the place of a list. ``page`` names its template, which includes ``<page>_live.html``."""

    page = ""
    title: Any = ""

    class Media:
        css = {"all": ["taskq_django/admin.css", "taskq_django/pages.css"]}

    def _by_nobody(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = _by_nobody

    def may(self, request: HttpRequest, codename: str) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.{codename}"))

    def url(self, what: str = "changelist", *args: Any) -> str:
        return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{what}", args=args)

    def sees(self, request: HttpRequest, model: str) -> bool:
        return self.may(request, f"view_{model}")

    def list_url(self, request: HttpRequest, model: str, **filters: str) -> str:
        """Of a list of this site; "" where the user may not see it, or the site has none."""
        if not self.sees(request, model):
            return ""
        url = self.page_url(f"{model}_changelist")
        return f"{url}?{urlencode(filters)}" if url and filters else url

    def page_url(self, what: str, *args: Any) -> str:
        """Of a page of this site; "" where the site has none, because its model is not registered there."""
        try:
            return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{what}", args=args)
        except NoReverseMatch:
            return ""

    def get_urls(self) -> list[Any]:
        return [self._path("", self.page_view, "changelist"), *self.own_urls()]

    def own_urls(self) -> list[Any]:
        return []

    def _path(self, route: str, view: Callable[..., HttpResponse], what: str) -> Any:
        return path(
            route, self.admin_site.admin_view(view), name=f"{self.opts.app_label}_{self.opts.model_name}_{what}"
        )

    def page_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {"live_url": self.live_url(request), **self.shown(request)}
        if FRAGMENT in request.GET:
            return self.rendered(request, f"{self.page}_live", context)
        return self.rendered(request, self.page, context)

    def live_url(self, request: HttpRequest) -> str:
        query = request.GET.copy()
        query[FRAGMENT] = "1"
        return f"?{query.urlencode()}"

    def shown(self, request: HttpRequest) -> dict[str, Any]:
        """The context of the part of the page that changes. Each page has its own."""
        raise NotImplementedError  # not by ABC, because a ModelAdmin has a metaclass already

    def rendered(self, request: HttpRequest, template: str, context: Mapping[str, Any]) -> TemplateResponse:
        request.current_app = self.admin_site.name
        given = {
            **self.admin_site.each_context(request),
            "title": self.title,
            "opts": self.opts,
            "media": self.media,
            "live": f"admin/taskq_django/{self.page}_live.html",
            **context,
        }
        return TemplateResponse(request, f"admin/taskq_django/{template}.html", given)

    # Acts

    def act_on_post(self, request: HttpRequest, codename: str, act: Callable[[], str]) -> HttpResponse:
        """Do it where it is posted and permitted, say what came of it, and go back to the page."""
        if request.method == "POST":
            if not self.may(request, codename):
                raise PermissionDenied
            try:
                messages.success(request, act())
            except Refused as error:
                messages.error(request, str(error))
        return redirect(self.url())

    def note(self, request: HttpRequest, key: str, what: str) -> None:
        """An entry of the admin's log: who did what to which."""
        LogEntry.objects.create(
            user_id=str(request.user.pk),
            content_type_id=get_content_type_for_model(self.model).pk,
            object_id=key,
            object_repr=key[:200],
            action_flag=CHANGE,
            change_message=what,
        )

    def acts(self) -> list[LogEntry]:
        """The latest, for the foot of the page."""
        kind = get_content_type_for_model(self.model)
        return list(LogEntry.objects.filter(content_type=kind).select_related("user")[:ACTS_SHOWN])

    def confirmation(self, request: HttpRequest, question: str, fields: Mapping[str, str], **more: Any) -> HttpResponse:
        """Asks once more; ``fields`` are posted again, to the same address."""
        context = {"title": _t("Are you sure?"), "question": question, "fields": fields, "back": self.url(), **more}
        return self.rendered(request, "confirm", context)

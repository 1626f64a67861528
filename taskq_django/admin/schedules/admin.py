"""The list of schedules, and their pages."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ...models import Schedule, ScheduleRun
from ...models.moments import database_now
from ...tasks import Task
from .. import display
from ..lookups import FilteredAdmin
from . import columns, verbs
from .calls import signature_text
from .columns import schedule_url
from .filters import EnabledFilter, ScheduledTaskFilter, ScheduleStateFilter
from .form import ScheduleForm
from .history import past_runs, with_last_run
from .preview import preview_of
from .schedulable import may, may_clear_away, may_touch

NAME = "taskq_django_schedule"
STYLES = ["taskq_django/admin.css", "taskq_django/schedules.css"]


@admin.register(Schedule)
class ScheduleAdmin(FilteredAdmin):
    form = ScheduleForm
    change_form_template = "admin/taskq_django/schedule/change_form.html"
    list_display: Any = (
        columns.switch,
        columns.title,
        columns.when,
        columns.next_run,
        columns.last_run,
        columns.state,
    )
    list_display_links = None
    list_filter = (EnabledFilter, ScheduleStateFilter, ScheduledTaskFilter)
    search_fields = ("name", "task_path", "note")
    ordering = ("name",)
    sortable_by: ClassVar[Any] = (columns.title, columns.next_run, columns.last_run)
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions: Any = verbs.ON_SELECTED
    fieldsets = (
        (None, {"fields": ("name", "task_path", "enabled")}),
        (_("When"), {"fields": ("kind", "spec", "timezone")}),
        (
            _("Limits, missed runs, overlap"),
            {
                "classes": ("collapse",),
                "fields": (
                    *("start_at", "end_at", "max_runs", "jitter", "misfire", "misfire_grace", "misfire_cap", "overlap"),
                ),
            },
        ),
        (
            _("Queue and priority"),
            {"classes": ("collapse",), "fields": ("queue_name", "priority", "backend", "expires")},
        ),
        (_("Note"), {"classes": ("collapse",), "fields": ("note",)}),
    )

    class Media:
        css = {"all": ["admin/css/vendor/select2/select2.css", "admin/css/autocomplete.css", *STYLES]}
        # In the order of Django's own AutocompleteMixin.
        js = [
            "admin/js/vendor/jquery/jquery.js",
            "admin/js/vendor/select2/select2.full.js",
            "admin/js/jquery.init.js",
        ]

    # Permissions

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _is_theirs(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _is_theirs(request, obj)

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("taskq_django.run_schedule") and _is_theirs(request, obj)

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[columns.ScheduleChangeList]:
        return columns.ScheduleChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_last_run(super().get_queryset(request))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """What can be no key of a row is not chosen: Django hands it to the database."""
        chosen: Any = request.POST.copy()
        if helpers.ACTION_CHECKBOX_NAME in chosen:
            keys = [text for text in chosen.getlist(helpers.ACTION_CHECKBOX_NAME) if self._is_key(text)]
            chosen.setlist(helpers.ACTION_CHECKBOX_NAME, keys)
            request.POST = chosen
        return super().changelist_view(request, extra_context)

    def _is_key(self, text: str) -> bool:
        try:
            self.opts.pk.clean(text, None)
        except ValidationError:
            return False
        return True

    # Pages and buttons

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path("preview/", view(self.preview_view), name=f"{NAME}_preview"),
            path("arguments/", view(self.arguments_view), name=f"{NAME}_arguments"),
            *[
                path(f"<int:pk>/{verb}/", view(self.verb_view), {"verb": verb}, name=f"{NAME}_{verb}")
                for verb in verbs.ACTS
            ],
        ]
        return [*own, *super().get_urls()]

    def verb_view(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """POST only: one act on one schedule, and back to where it was asked for."""
        changelist = schedule_url(self.admin_site.name, "changelist")
        if request.method != "POST":
            return redirect(changelist)
        row: Any = self.get_object(request, str(pk))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))  # type: ignore[no-any-return,attr-defined]
        if not may(self, request, verb, row):
            raise PermissionDenied
        verbs.act_on_one(self, request, verb, row)
        if "_list" not in request.GET:
            return redirect(schedule_url(self.admin_site.name, "change", pk))
        query = request.GET.copy()
        del query["_list"]
        return redirect(f"{changelist}?{query.urlencode()}" if query else changelist)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """The panel, as a piece of HTML, for what the form says while it is filled in."""
        if not self.has_view_or_change_permission(request) and not self.has_add_permission(request):
            raise PermissionDenied
        given = request.GET
        moments = {name: _moment(given.get(name, "")) for name in ("anchor", "start", "end")}
        now = database_now(self.get_queryset(request).db)
        preview = preview_of(given.get("kind", ""), given.get("spec", ""), given.get("timezone", ""), now, **moments)
        return TemplateResponse(request, "admin/taskq_django/schedule/preview.html", {"preview": preview})

    def arguments_view(self, request: HttpRequest) -> HttpResponse:
        """The fields of the arguments of a task, as a piece of HTML."""
        if not self.has_change_permission(request) and not self.has_add_permission(request):
            raise PermissionDenied
        form = self.get_form(request)(initial={"task_path": request.GET.get("task", "")})
        context = {"arguments": self._arguments(form), "task": form.task}
        return TemplateResponse(request, "admin/taskq_django/schedule/arguments.html", context)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its runs go with it, and may be a hundred thousand: they are counted, not listed."""
        rows = list(objs)
        runs = ScheduleRun.objects.filter(schedule__in=rows).count()
        counts = {self.opts.verbose_name_plural: len(rows), ScheduleRun._meta.verbose_name_plural: runs}
        refused = {self.opts.verbose_name for row in rows if not self.has_delete_permission(request, row)}
        return [str(row) for row in rows], counts, refused, []

    # The form

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type("ScheduleForm", (form,), {"user": request.user})

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        if obj.declared_as and set(form.changed_data) - {"enabled", "seen", "name"}:
            obj.is_overridden = True
        super().save_model(request, obj, form, change)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        form = context["adminform"].form
        row = kwargs.get("obj")
        may_edit = self.has_change_permission(request, row) if row else self.has_add_permission(request)
        context.update(
            task=form.task,
            arguments=self._arguments(form) if may_edit else None,
            shown_arguments=None if may_edit or row is None else _masked(row),
            preview=form.preview,
            may_run=row is not None and self.has_run_permission(request, row),
            may_switch=row is not None and may(self, request, "disable" if row.enabled else "enable", row),
            may_duplicate=row is not None and may(self, request, "duplicate", row),
            is_declared=row is not None and bool(row.declared_as),
            runs=past_runs(row, row._state.db or "default") if row is not None else [],
            flag=columns.state_of(row) if row is not None else None,
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def _arguments(self, form: Any) -> Any:
        if form.task is None:
            return None
        return helpers.Fieldset(
            form,
            name=_t("Arguments"),
            fields=[argument.name for argument in form.arguments],
            classes=("taskq-arguments-fields",),
            description=_described(form.task),
            model_admin=self,
        )


def _is_theirs(request: HttpRequest, row: Schedule | None) -> bool:
    if row is None:
        return True
    return may_touch(request.user, row.task_path) or may_clear_away(request.user, row.task_path)


def _described(task: Task[..., Any]) -> SafeString:
    """Its signature, and what its docstring begins with."""
    about = (task.func.__doc__ or "").strip().partition("\n")[0]
    return format_html('<code>{}</code> <span class="taskq-about">{}</span>', signature_text(task), about)


def _masked(row: Schedule) -> str:
    try:
        return display.pretty_arguments(json.dumps([row.args, row.kwargs]), row.task_path)
    except RecursionError:
        return display.pretty_arguments("", row.task_path)


def _moment(text: str) -> Any:
    """Of a query string; what cannot be read is left out, as the form will say it."""
    try:
        return parse_datetime(text.strip().replace(" ", "T")) if text.strip() else None
    except ValueError:
        return None

"""The list of schedules, and their pages."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ...exceptions import in_print
from ...models import Schedule, ScheduleRun
from ...models.moments import database_now
from ...registry import registry
from ...store.beat_sign import read_sign
from ...tasks import Task
from .. import display
from ..lookups import FilteredAdmin
from ..masking import MASK
from . import beats, columns, verbs
from .arguments_form import usable
from .calls import signature_text
from .columns import schedule_url
from .filters import EnabledFilter, ScheduledTaskFilter, ScheduleStateFilter
from .form import ACT, ScheduleForm
from .history import past_runs
from .preview import preview_asked_for
from .schedulable import may, may_clear_away, may_touch

NAME = "taskq_django_schedule"
STYLES = ["taskq_django/admin.css", "taskq_django/schedules.css"]


@admin.register(Schedule)
class ScheduleAdmin(FilteredAdmin):
    form = ScheduleForm
    change_list_template = "admin/taskq_django/schedule/change_list.html"
    delete_selected_confirmation_template = "admin/taskq_django/schedule/delete_selected.html"
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

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """What can be no key of a row is not chosen: Django hands it to the database."""
        chosen: Any = request.POST.copy()
        if helpers.ACTION_CHECKBOX_NAME in chosen:
            keys = [text for text in chosen.getlist(helpers.ACTION_CHECKBOX_NAME) if self._is_key(text)]
            chosen.setlist(helpers.ACTION_CHECKBOX_NAME, keys)
            request.POST = chosen
        answer = super().changelist_view(request, extra_context)
        context = getattr(answer, "context_data", None) or {}  # empty: it is no page, and nothing more is asked
        if "deletable_objects" in context and chosen.get("select_across") == "1":
            # Django's page would send the key of each, and refuse its own form for more than a thousand fields.
            first: Any = context["queryset"].first()
            context["all_that_fit"] = first and first.pk
        elif context:
            context |= self._missing_beat(request)
        return answer

    def _missing_beat(self, request: HttpRequest) -> dict[str, Any]:
        """What the banner of a page says; nothing where a beat is alive, or nothing waits for one."""
        beat = read_sign(self.get_queryset(request).db)
        return {"missing_beat": beats.missing_text(beat), "start_beat": beats.START_ONE} if beat.is_missing else {}

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
        preview = preview_asked_for(request.GET, database_now(self.get_queryset(request).db))
        return TemplateResponse(request, "admin/taskq_django/schedule/preview.html", {"preview": preview})

    def arguments_view(self, request: HttpRequest) -> HttpResponse:
        """The fields of the arguments of a task, as a piece of HTML."""
        if not self.has_change_permission(request) and not self.has_add_permission(request):
            raise PermissionDenied
        form = self.get_form(request)(initial={"task_path": request.GET.get("task", "")})
        context = {"arguments": self._arguments(form), "task": form.task}
        return TemplateResponse(request, "admin/taskq_django/schedule/arguments.html", context)

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Beside the form there are buttons for acts, which would drop what was filled in: then nothing is done, and
        the form comes back with it.
        """
        verb = request.POST.get(ACT, "")
        row: Any = self.get_object(request, unquote(object_id)) if object_id and verb in verbs.ACTS else None
        if row is not None and self.has_change_permission(request, row):
            edits = self.get_form(request, row, change=True)(request.POST, instance=row).edits
            if not edits:
                return self.verb_view(request, row.pk, verb)
            text = _t("Nothing was done, because you have changed this and not saved it: %s. Save it, then try again.")
            messages.warning(request, text % ", ".join(edits))
        return super().changeform_view(request, object_id, form_url, extra_context)

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
        if obj.enabled and read_sign(obj._state.db or "default").is_missing:
            messages.warning(request, _t("“%s” runs when a beat is there: none is alive.") % obj)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        form = context["adminform"].form
        row = kwargs.get("obj")
        may_edit = self.has_change_permission(request, row) if row else self.has_add_permission(request)
        context.update(
            self._missing_beat(request),
            task=form.task,
            arguments=self._arguments(form) if may_edit else None,
            shown_arguments=None if may_edit or row is None else _masked(row),
            arguments_of_gone=_names(row) if may_edit and row and registry.seek(row.task_path) is None else None,
            preview=form.preview,
            acts=[] if row is None else [(verb, verbs.LABELS[verb]) for verb in self._acts_on(request, row)],
            is_declared=row is not None and bool(row.declared_as),
            runs=past_runs(row, row._state.db or "default") if row is not None else None,
            flag=columns.state_of(row) if row is not None else None,
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def _acts_on(self, request: HttpRequest, row: Schedule) -> list[str]:
        """What this user may do to it by a button."""
        verbs = ["run", "disable" if row.enabled else "enable", "duplicate", *(["revert"] if row.declared_as else [])]
        return [verb for verb in verbs if may(self, request, verb, row)]

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


def _names(row: Schedule) -> str:
    """Its arguments without their values, because nobody here knows which are secret; "" where there are none."""
    args, kwargs = usable(row.args, row.kwargs)
    names = [*(f"{position}." for position in range(1, len(args) + 1)), *map(in_print, kwargs)]
    return display.cut("\n".join(f"{name} = {MASK}" for name in names), display.LONGEST)

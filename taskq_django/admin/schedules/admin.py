"""The list of schedules, and their pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ...beat import declared
from ...beat.firing import run_now
from ...clock import database_now
from ...compat import AnyTask
from ...exceptions import BrokenSchedule, SpecError
from ...models import Schedule
from ...models.schedule import aware
from ...schedules.zones import read_zone
from .. import display
from .argument_fields import signature_text
from .filters import EnabledFilter, StateFilter, TaskFilter
from .form import ScheduleForm
from .history import past_runs, states_of, with_last_run
from .preview import preview_of
from .schedulable import may_touch

LATE = timedelta(seconds=15)  # a beat would have fired it by then
NAME = "taskq_django_schedule"
STYLES = ["taskq_django/admin.css", "taskq_django/schedules.css"]


class ScheduleChangeList(ChangeList):
    """Knows the states of the jobs that its rows have made last."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: Any = list(self.result_list)
        self.result_list = rows
        states = states_of([row.last_job for row in rows if row.last_job], self.queryset.db)
        for row in rows:
            row.last_state = states.get(row.last_job, "")


@admin.register(Schedule)
class ScheduleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = ScheduleForm
    change_form_template = "admin/taskq_django/schedule/change_form.html"
    list_display = ("switch", "title", "when", "next_run", "last_run", "state")
    list_display_links = None
    list_filter = (EnabledFilter, StateFilter, TaskFilter)
    search_fields = ("name", "task_path", "note")
    ordering = ("name",)
    sortable_by = ("title", "next_run", "last_run")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("run_selected", "enable_selected", "disable_selected", "duplicate_selected")
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
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or may_touch(request.user, obj.task_path))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or may_touch(request.user, obj.task_path))

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = request.user.has_perm("taskq_django.run_schedule")
        return allowed and (obj is None or may_touch(request.user, obj.task_path))

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ScheduleChangeList]:
        return ScheduleChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_last_run(super().get_queryset(request))

    def get_list_display(self, request: HttpRequest) -> Any:
        self._can_change = self.has_change_permission(request)
        return super().get_list_display(request)

    @admin.display(description=_("on"), ordering="enabled")
    def switch(self, row: Schedule) -> SafeString:
        """A button in the form of the list, so that it works without JavaScript."""
        label = _t("Disable %s") if row.enabled else _t("Enable %s")
        return format_html(
            '<button type="submit" class="taskq-switch" formaction="{}" formnovalidate aria-pressed="{}" title="{}">'
            '<span class="taskq-hidden">{}</span></button>',
            self._url("switch", row),
            "true" if row.enabled else "false",
            label % row.name,
            label % row.name,
        )

    @admin.display(description=_("schedule"), ordering="name")
    def title(self, row: Schedule) -> SafeString:
        badge = ""
        if row.declared_as:
            text = _t("code, changed here") if row.is_overridden else _t("code")
            badge = format_html(' <span class="taskq-tag">{}</span>', text)
        return format_html(
            '<a class="taskq-name" href="{}" title="{}"><strong>{}</strong></a>{}<br>'
            '<span class="taskq-muted taskq-path" title="{}">{}</span>',
            *(self._url("change", row), row.name, row.name, badge, row.task_path, row.task_path),
        )

    @admin.display(description=_("when"))
    def when(self, row: Schedule) -> SafeString:
        try:
            text = row.moments.describe()
        except SpecError as error:
            text = str(error)
        zone = row.timezone if row.kind != "interval" else ""
        return format_html(
            '<span class="taskq-text" title="{}">{}</span><br><code>{}</code> <span class="taskq-muted">{}</span>',
            *(text, text, row.spec, zone),
        )

    @admin.display(description=_("next run"), ordering="next_run_at")
    def next_run(self, row: Schedule) -> SafeString | str:
        if not row.enabled or row.next_run_at is None:
            return "–"
        slot = aware(row.next_run_at)
        left = slot - timezone.now() if timezone.is_aware(timezone.now()) else slot - aware(timezone.now())
        text = _t("in %s") % display.span(left) if left > timedelta() else _t("%s ago") % display.span(-left)
        local, zone = _local(slot, row.timezone), row.timezone
        return format_html('{}<br><span class="taskq-muted" title="{}">{}</span>', text, zone, local)

    @admin.display(description=_("last run"), ordering="last_run_at")
    def last_run(self, row: Any) -> SafeString | str:
        if row.last_job is None:
            return "–"
        ago = display.span(aware(timezone.now()) - aware(row.last_slot))
        badge = display.badge(row.last_state) if row.last_state else "–"
        return format_html('<a href="{}">{}<br>{}</a>', _job_url(self, row.last_job), badge, _t("%s ago") % ago)

    @admin.display(description=_("state"))
    def state(self, row: Schedule) -> SafeString:
        name, label, reason = _state(row)
        mark = format_html('<span class="taskq-badge taskq-{}">{}</span>', name, label)
        if not reason:
            return mark
        return format_html('{}<br><span class="taskq-muted taskq-reason" title="{}">{}</span>', mark, reason, reason)

    # Actions on many

    @admin.action(description=_("Run now"), permissions=["run"])
    def run_selected(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        for row in rows:
            self._run(request, row)

    @admin.action(description=_("Enable"), permissions=["change"])
    def enable_selected(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._switch_all(request, rows, on=True)

    @admin.action(description=_("Disable"), permissions=["change"])
    def disable_selected(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._switch_all(request, rows, on=False)

    @admin.action(description=_("Duplicate"), permissions=["add"])
    def duplicate_selected(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        for row in rows:
            self._duplicate(request, row)

    # Pages and buttons

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path("preview/", view(self.preview_view), name=f"{NAME}_preview"),
            path("arguments/", view(self.arguments_view), name=f"{NAME}_arguments"),
            *[
                path(f"<int:pk>/{verb}/", view(self.verb_view), {"verb": verb}, name=f"{NAME}_{verb}")
                for verb in ("run", "switch", "duplicate", "revert")
            ],
        ]
        return [*own, *super().get_urls()]

    def verb_view(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """POST only: run, switch, duplicate or revert one schedule, and go back."""
        row = self.get_object(request, str(pk))
        if request.method != "POST":
            return redirect(self._url("changelist"))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))  # type: ignore[no-any-return,attr-defined]
        allowed = {
            "run": self.has_run_permission(request, row),
            "duplicate": self.has_add_permission(request) and may_touch(request.user, row.task_path),
        }
        if not allowed.get(verb, self.has_change_permission(request, row)):
            raise PermissionDenied
        if verb == "duplicate":
            copy = self._duplicate(request, row)
            return redirect(self._url("change", copy))
        if verb == "run":
            self._run(request, row)
        elif verb == "switch":
            self._switch_all(request, [row], on=not row.enabled)
        elif declared.revert(row, row._state.db or "default"):
            self.log_change(request, row, _t("Reverted to what the code says."))
            messages.success(request, _t("“%s” is again what the code says.") % row)
        else:
            messages.error(request, _t("The code says nothing of “%s” any more.") % row)
        back = self._url("changelist") if "_list" in request.GET else self._url("change", row)
        return redirect(back)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """The panel, as a piece of HTML, for what the form says while it is filled in."""
        if not self.has_view_or_change_permission(request) and not self.has_add_permission(request):
            raise PermissionDenied
        given = request.GET
        start, end = _moment(given.get("start", "")), _moment(given.get("end", ""))
        now = database_now(self.get_queryset(request).db)
        preview = preview_of(
            given.get("kind", ""), given.get("spec", ""), given.get("timezone", ""), now, start=start, end=end
        )
        return TemplateResponse(request, "admin/taskq_django/schedule/preview.html", {"preview": preview})

    def arguments_view(self, request: HttpRequest) -> HttpResponse:
        """The fields of the arguments of a task, as a piece of HTML."""
        if not self.has_change_permission(request) and not self.has_add_permission(request):
            raise PermissionDenied
        form = self.get_form(request)(initial={"task_path": request.GET.get("task", "")})
        context = {"arguments": self._arguments(form), "task": form.task}
        return TemplateResponse(request, "admin/taskq_django/schedule/arguments.html", context)

    # The form

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type("ScheduleForm", (form,), {"user": request.user})

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        if obj.declared_as and set(form.changed_data) - {"enabled", "seen"}:
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
            may_duplicate=row is not None and self.has_add_permission(request),
            is_declared=row is not None and bool(row.declared_as),
            runs=past_runs(row, row._state.db or "default") if row is not None else [],
            flag=_state(row) if row is not None else None,
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

    # One schedule

    def _run(self, request: HttpRequest, row: Schedule) -> None:
        if not self.has_run_permission(request, row):
            messages.error(request, _t("You may not run “%s”.") % row)
            return
        try:
            job_id = run_now(row, row._state.db or "default")
        except BrokenSchedule as error:
            messages.error(request, _t("“%(row)s” cannot run: %(why)s") % {"row": row, "why": error})
            return
        self.log_change(request, row, _t("Run now: job %s") % job_id)
        link = format_html('<a href="{}">{}</a>', _job_url(self, UUID(job_id)), job_id)
        messages.success(request, format_html(_t("“{}” was enqueued as job {}."), row, link))

    def _switch_all(self, request: HttpRequest, rows: Any, *, on: bool) -> None:
        for row in rows:
            if not self.has_change_permission(request, row):
                messages.error(request, _t("You may not change “%s”.") % row)
                continue
            row.enabled = on
            try:
                row.save(update_fields=["enabled"])
            except SpecError as error:
                messages.error(request, _t("“%(row)s” cannot be enabled: %(why)s") % {"row": row, "why": error})
                continue
            self.log_change(request, row, _t("Enabled.") if on else _t("Disabled."))
            messages.success(request, (_t("“%s” is enabled.") if on else _t("“%s” is disabled.")) % row)

    def _duplicate(self, request: HttpRequest, row: Schedule) -> Schedule:
        names = [field.name for field in Schedule._meta.fields if field.editable]
        copy = Schedule(**{name: getattr(row, name) for name in names if name != "id"})
        base, number = row.name[:185], 1
        copy.name, copy.enabled = _t("%s (copy)") % base, False
        while Schedule.objects.filter(name=copy.name).exists():
            number += 1
            copy.name = _t("%(name)s (copy %(number)d)") % {"name": base, "number": number}
        copy.save()
        self.log_addition(request, copy, _t("Duplicated from “%s”.") % row)
        messages.success(request, _t("“%s” was made; it is disabled.") % copy)
        return copy

    def _url(self, what: str, row: Schedule | None = None) -> str:
        name = f"{self.admin_site.name}:{NAME}_{what}"
        url = reverse(name, args=[row.pk] if row else None)
        return f"{url}?_list" if what == "switch" else url


def _state(row: Schedule) -> tuple[str, Any, str]:
    """A class of the style sheet, a word, and the reason."""
    if not row.enabled:
        return "cancelled", _t("Disabled"), row.disabled_reason
    if row.broken:
        return "failed", _t("Broken"), row.broken
    if row.is_finished:
        return "cancelled", _t("Finished"), ""
    if row.next_run_at and aware(row.next_run_at) < aware(timezone.now()) - LATE:
        return "scheduled", _t("Overdue"), _t("Does a beat run?")
    return "successful", _t("Active"), ""


def _described(task: AnyTask) -> SafeString:
    """Its signature, and what its docstring begins with."""
    about = (task.func.__doc__ or "").strip().partition("\n")[0]
    return format_html('<code>{}</code> <span class="taskq-about">{}</span>', signature_text(task), about)


def _masked(row: Schedule) -> str:
    return display.pretty_arguments(orjson.dumps([row.args, row.kwargs]).decode(), row.task_path)


def _local(slot: Any, zone: str) -> str:
    try:
        local = slot.astimezone(read_zone(zone))
    except SpecError:
        return display.moment(slot)
    shown = "%H:%M:%S" if abs(slot - aware(timezone.now())) < timedelta(hours=12) else "%Y-%m-%d %H:%M"
    return f"{local:{shown}}"


def _job_url(model_admin: Any, job_id: UUID) -> str:
    return reverse(f"{model_admin.admin_site.name}:taskq_django_job", args=[job_id])


def _moment(text: str) -> Any:
    """Of a query string; what cannot be read is left out, as the form will say it."""
    from django.utils.dateparse import parse_datetime

    try:
        return parse_datetime(text.strip().replace(" ", "T")) if text.strip() else None
    except ValueError:
        return None

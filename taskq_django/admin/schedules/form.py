"""The form of a schedule: its own fields, and one for each argument of the chosen task."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.db import router
from django.forms.utils import ErrorDict, flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ...backend import our_backends
from ...beat.firing import firing_of
from ...conf import queue_name_problem
from ...exceptions import BrokenSchedule
from ...models import Schedule
from ...models.moments import aware, database_now
from ...models.schedule import TIMING
from ...registry import registry
from ...schedules import KINDS
from ...schedules.preview import first_slot
from ...schedules.zones import zone_names
from ...tasks import Task
from .argument_fields import LinesField
from .arguments_form import TakesArguments, usable
from .clocks import readers_clocks
from .preview import Preview, preview_of_row
from .schedulable import may_schedule

KIND_LABELS = {"cron": _("Cron"), "interval": _("Interval"), "once": _("Once")}
SPEC_HELP = _("Cron: 0 9 * * 1-5 · Interval: 5 minutes, 1 hour 30 minutes · Once: 2030-12-24 18:00")

# Buttons that show the form again instead of saving it: two for browsers without JavaScript, and one that asks for an
# act on what is stored, where the form says something else.
SHOW_ARGUMENTS, SHOW_PREVIEW, ACT = "_arguments", "_preview", "_act"


class LongSelect(forms.Select):
    """For six hundred options: in 8 ms, and not in the 43 that a template for each takes."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = {str(each) for each in self.format_value(value)}
        options = [(text, mark_safe(" selected") if text in chosen else "", label) for text, label in self.choices]
        shown = format_html_join("\n", '<option value="{}"{}>{}</option>', options)
        attributes = flatatt(self.build_attrs(self.attrs, {"name": name, **(attrs or {})}))
        return format_html("<select{}>{}</select>", attributes, shown)


class ScheduleForm(TakesArguments, forms.ModelForm):  # type: ignore[type-arg]
    user: Any  # set by the admin, in a subclass for the request

    task_path = forms.ChoiceField(label=_("Task"))
    kind = forms.ChoiceField(label=_("Kind"), widget=forms.RadioSelect, initial="cron")
    spec = forms.CharField(label=_("When"), max_length=100, help_text=SPEC_HELP)
    timezone = forms.ChoiceField(label=_("Time zone"), widget=LongSelect)
    backend = forms.ChoiceField(label=_("Backend"), required=False)
    note = LinesField(label=_("Note"), max_length=10_000, required=False, strip=False, widget=AdminTextareaWidget)
    seen = forms.CharField(widget=forms.HiddenInput, required=False)  # when it was edited last, as its editor saw it

    class Meta:
        model = Schedule
        exclude = ("args", "kwargs")  # noqa: DJ006 - the admin names the fields

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer_choices()
        path = self["task_path"].value() if "task_path" in self.fields else self.instance.task_path
        task = registry.get(path or "")
        self.task: Task[..., Any] | None = task if task is not None and may_schedule(self.user, task) else None
        same = self.instance.task_path == path
        self._take_arguments(*usable(self.instance.args, self.instance.kwargs) if same else ([], {}))
        self._name_the_parts_of_moments()
        self.fields["seen"].initial = str(self.instance.edited_at) if self.instance.pk else ""

    @property
    def preview(self) -> Preview | None:
        """Of what the form says; None while it says too little."""
        if not self.is_bound:
            return None if self.instance._state.adding else preview_of_row(self.instance, self._now())
        if any(name in self.errors for name in ("kind", "timezone", "start_at", "end_at")) or not self.instance.spec:
            return None
        return preview_of_row(self.instance, self._now())

    def is_valid(self) -> bool:
        """False also when it is only to be shown again."""
        valid = super().is_valid()
        if {SHOW_ARGUMENTS, ACT} & self.data.keys():
            self._errors = ErrorDict()
        elif SHOW_PREVIEW in self.data:
            self._errors = ErrorDict({name: found for name, found in self.errors.items() if name in TIMING})
        return valid and not {SHOW_ARGUMENTS, SHOW_PREVIEW, ACT} & self.data.keys()

    @property
    def edits(self) -> list[str]:
        """The labels of the fields that say something else than what is stored."""
        return [str(self[name].label) for name in self.changed_data if name != "seen"]

    def clean_queue_name(self) -> str:
        name: str = self.cleaned_data["queue_name"]
        if name and (problem := queue_name_problem(name)):
            raise ValidationError(problem)
        return name

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk and cleaned.get("seen") != self._edited_at():
            self.add_error(
                None, _t("Somebody has changed this schedule since you opened it. Reload it, then try again.")
            )
        if self.task is not None:
            self.instance.args, self.instance.kwargs = usable(self.instance.args, self.instance.kwargs)
            if call := self._clean_arguments(cleaned):
                self.instance.args, self.instance.kwargs = call
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # fills the instance and has it check itself
        if not {"kind", "spec", "timezone"} & set(self.changed_data):
            # Not in its usual spelling either: that would plan it anew.
            self.instance.spec = self.initial.get("spec", self.instance.spec)
        if not self.errors and self.task is not None:
            self._check_that_it_can_run()

    def _edited_at(self) -> str:
        """As the row is now; nobody else can change it until this is saved."""
        rows = Schedule.objects.using(self.instance._state.db).select_for_update()
        return str(rows.filter(pk=self.instance.pk).values_list("edited_at", flat=True).first())

    def _check_that_it_can_run(self) -> None:
        now, row = self._now(), self.instance
        timing_changed = row._state.adding or any(name in self.changed_data for name in TIMING)
        start, end = aware(row.start_at), aware(row.end_at)
        if timing_changed and row.enabled and first_slot(row.moments, now, start=start, end=end) is None:
            self.add_error("spec", _t("This moment is past.") if row.kind == "once" else _t("There is no run to come."))
            return
        try:
            firing_of(row, now, router.db_for_write(Schedule))
        except BrokenSchedule as error:
            field = next(
                (name for name in ("queue_name", "backend", "priority") if self.cleaned_data.get(name)), "task_path"
            )
            self.add_error(field, str(error))

    def _offer_choices(self) -> None:
        offered = {
            "task_path": list(self._task_choices()),
            "kind": [(name, KIND_LABELS.get(name, name)) for name in KINDS],
            "timezone": [(name, name) for name in sorted(zone_names())],
            "backend": [("", _t("that of the task")), *((alias, alias) for alias in our_backends())],
        }
        for name, choices in offered.items():
            if name in self.fields:
                self.fields[name].choices = choices  # type: ignore[attr-defined]
        if "timezone" in self.fields and not self.instance.pk:
            self.fields["timezone"].initial = self.instance.timezone

    def _task_choices(self) -> Iterator[tuple[str, Any]]:
        """By package; a task that is gone stays chosen, so that its row can be shown."""
        yield "", "---------"
        groups: dict[str, list[tuple[str, str]]] = {}
        for task in filter(partial(may_schedule, self.user), registry.all()):
            module, _, name = task.module_path.rpartition(".")
            groups.setdefault(module, []).append((task.module_path, name))
        yield from groups.items()
        path = self.instance.task_path
        found = registry.get(path) if path else None
        if path and found is None:
            yield path, _t("%s (no longer registered)") % path
        elif found is not None and found.module_path != path and may_schedule(self.user, found):
            yield path, _t("%(alias)s (now %(path)s)") % {"alias": path, "path": found.module_path}

    def clean_task_path(self) -> str:
        path: str = self.cleaned_data["task_path"]
        if registry.get(path) is None:
            raise ValidationError(_t("No task of this name is registered."))
        return path

    def _name_the_parts_of_moments(self) -> None:
        """Django 5.2 has no labels for them; and no field says by whose clocks it is read."""
        for name in ("start_at", "end_at"):
            if name in self.fields:
                self.fields[name].help_text = _t("By the clocks of %s.") % readers_clocks().name
            widget: Any = self.fields[name].widget if name in self.fields else None
            for part, what in zip(getattr(widget, "widgets", ()), (_t("date"), _t("time")), strict=False):
                part.attrs["aria-label"] = f"{self.fields[name].label}: {what}"

    def _now(self) -> Any:
        return database_now(router.db_for_write(Schedule))

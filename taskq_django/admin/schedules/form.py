"""The form of a schedule: its own fields, and one for each argument of the chosen task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import orjson
from django import forms
from django.core.exceptions import ValidationError
from django.db import router
from django.forms.utils import ErrorDict, flatatt
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ... import codec
from ...backend import our_backends
from ...beat.firing import firing_of
from ...conf import queue_name_problem
from ...exceptions import ArgumentError, BrokenSchedule, PayloadError
from ...models import Schedule
from ...models.moments import aware, database_now
from ...models.schedule import TIMING
from ...registry import registry
from ...schedules import KINDS
from ...schedules.preview import first_slot
from ...schedules.zones import zone_names
from ...tasks import Task, check_arguments
from .argument_fields import PREFIX, UNCHANGED, ArgumentField, fields_of
from .calls import by_parameter, to_store
from .preview import Preview, preview_of_row
from .schedulable import may_schedule

KIND_LABELS = {"cron": _("Cron"), "interval": _("Interval"), "once": _("Once")}
SPEC_HELP = _("Cron: 0 9 * * 1-5 · Interval: 5 minutes, 1 hour 30 minutes · Once: 2030-12-24 18:00")

# Buttons that show the form again instead of saving it, for browsers without JavaScript.
SHOW_ARGUMENTS, SHOW_PREVIEW = "_arguments", "_preview"


class LongSelect(forms.Select):
    """For six hundred options: in 8 ms, and not in the 43 that a template for each takes."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = {str(each) for each in self.format_value(value)}
        options = [(text, mark_safe(" selected") if text in chosen else "", label) for text, label in self.choices]
        shown = format_html_join("\n", '<option value="{}"{}>{}</option>', options)
        attributes = flatatt(self.build_attrs(self.attrs, {"name": name, **(attrs or {})}))
        return format_html("<select{}>{}</select>", attributes, shown)


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    user: Any  # set by the admin, in a subclass for the request

    task_path = forms.ChoiceField(label=_("Task"))
    kind = forms.ChoiceField(label=_("Kind"), widget=forms.RadioSelect, initial="cron")
    spec = forms.CharField(label=_("When"), max_length=100, help_text=SPEC_HELP)
    timezone = forms.ChoiceField(label=_("Time zone"), widget=LongSelect)
    backend = forms.ChoiceField(label=_("Backend"), required=False)
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
        self.arguments: list[ArgumentField] = fields_of(self.task) if self.task else []
        self._stored: dict[str, Any] = {}
        if self.instance.task_path == path:
            self._stored = by_parameter(self.arguments, *usable(self.instance.args, self.instance.kwargs))
        for argument in self.arguments:
            self._add(argument)
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
        if SHOW_ARGUMENTS in self.data:
            self._errors = ErrorDict()
        elif SHOW_PREVIEW in self.data:
            self._errors = ErrorDict({name: found for name, found in self.errors.items() if name in TIMING})
        return valid and not {SHOW_ARGUMENTS, SHOW_PREVIEW} & self.data.keys()

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
            self._clean_arguments(cleaned)
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # fills the instance and has it check itself
        if not {"kind", "spec", "timezone"} & set(self.changed_data):
            # Not in its usual spelling either: that would plan it anew.
            self.instance.spec = self.initial.get("spec", self.instance.spec)
        if not self.errors and self.task is not None:
            self._check_that_it_can_run()

    def _clean_arguments(self, cleaned: dict[str, Any]) -> None:
        self.instance.args, self.instance.kwargs = usable(self.instance.args, self.instance.kwargs)
        values: dict[str, Any] = {}
        for argument in self.arguments:
            name, value = argument.parameter.name, cleaned.get(argument.name)
            if self._is_untouched(argument):
                self.errors.pop(argument.name, None)
                values[name] = self._stored[name]
            elif value is None and argument.blank_is_none:
                values[name] = None
            elif value is not None and value != "":
                try:
                    values[name] = argument.stored(value)
                except ValidationError as error:
                    self.add_error(argument.name, error)
        if any(name.startswith(PREFIX) for name in self.errors):
            return
        try:
            self.instance.args, self.instance.kwargs = to_store(self.arguments, values)
        except ValidationError as error:
            self.add_error(None, error)
            return
        self._check_call(self.instance.args, self.instance.kwargs)

    @cached_property
    def changed_data(self) -> list[str]:
        untouched = {argument.name for argument in self.arguments if self._is_untouched(argument)}
        return [name for name in super().changed_data if name not in untouched]

    def _is_untouched(self, argument: ArgumentField) -> bool:
        """Does the form say of it what it was made with? Then what is stored stays, to the last digit of it."""
        if argument.parameter.name not in self._stored:
            return False
        bound = self[argument.name]
        given = bound.data or ""
        if argument.hides(self._stored[argument.parameter.name]):
            return given in {"", UNCHANGED}
        shown: Any = bound.field.widget.format_value(bound.field.prepare_value(bound.field.initial))
        if isinstance(shown, list):  # of a select
            shown = next(iter(shown), "")
        return str(given).replace("\r\n", "\n") == str(shown or "").replace("\r\n", "\n")

    def _edited_at(self) -> str:
        """As the row is now; nobody else can change it until this is saved."""
        rows = Schedule.objects.using(self.instance._state.db).select_for_update()
        return str(rows.filter(pk=self.instance.pk).values_list("edited_at", flat=True).first())

    def _check_call(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Do they bind, and can the task be given what its annotations promise?"""
        task: Any = self.task
        try:
            check_arguments(task, args, kwargs)
            text = orjson.dumps([args, kwargs]).decode()
            codec.decode_call(text, task.func, takes_context=task.takes_context)
        except (ArgumentError, PayloadError, TypeError) as error:
            named = re.search(r"argument '(\w+)'", str(error))
            field = f"{PREFIX}{named[1]}" if named and f"{PREFIX}{named[1]}" in self.fields else None
            self.add_error(field, str(error))

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

    def _add(self, argument: ArgumentField) -> None:
        field = argument.form_field
        stored = self._stored
        if argument.parameter.name in stored:
            if argument.hides(stored[argument.parameter.name]):
                field.widget.attrs["placeholder"] = UNCHANGED
                field.help_text = _t("Stored, and not shown. Left empty, it stays.")
                field.required = field.widget.is_required = False
            else:
                field.initial = argument.initial(stored[argument.parameter.name])
        self.fields[argument.name] = field

    def _name_the_parts_of_moments(self) -> None:
        """Django 5.2 has no labels for them."""
        for name in ("start_at", "end_at"):
            widget: Any = self.fields[name].widget if name in self.fields else None
            for part, what in zip(getattr(widget, "widgets", ()), (_t("date"), _t("time")), strict=False):
                part.attrs["aria-label"] = f"{self.fields[name].label}: {what}"

    def _now(self) -> Any:
        return database_now(router.db_for_write(Schedule))


def usable(args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Stored arguments; what is neither a list nor a dict holds none."""
    return args if isinstance(args, list) else [], kwargs if isinstance(kwargs, dict) else {}

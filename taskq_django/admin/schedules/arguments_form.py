"""The part of a form that is made from a task's signature: one field for each argument."""

from __future__ import annotations

import re
from typing import Any

import orjson
from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import cached_property
from django.utils.translation import gettext as _t

from ... import codec
from ...exceptions import ArgumentError, PayloadError
from ...tasks import Task, check_arguments
from .argument_fields import PREFIX, UNCHANGED, ArgumentField, fields_of
from .calls import Stored, by_parameter, to_store


class TakesArguments(forms.BaseForm):
    """Has a ``task``, calls ``_take_arguments`` when it is made, and ``_clean_arguments`` when it is sent."""

    task: Task[..., Any] | None
    arguments: list[ArgumentField]
    _stored: dict[str, Any]

    def _take_arguments(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        """A field for each; what is given, as a row stores it, is what the fields show."""
        self.arguments = fields_of(self.task) if self.task else []
        self._stored = by_parameter(self.arguments, args, kwargs)
        for argument in self.arguments:
            self._add(argument)

    def _add(self, argument: ArgumentField) -> None:
        field = argument.form_field
        stored = self._stored
        if argument.parameter.name in stored:
            if self._hides(argument):
                field.widget.attrs["placeholder"] = UNCHANGED
                field.help_text = _t("Stored, and not shown. Left empty, it stays.")
                field.required = field.widget.is_required = False
            else:
                field.initial = argument.initial(stored[argument.parameter.name])
        self.fields[argument.name] = field

    def _hides(self, argument: ArgumentField) -> bool:
        """Must what is stored of it not be shown?"""
        return argument.hides(self._stored[argument.parameter.name])

    def _clean_arguments(self, cleaned: dict[str, Any]) -> Stored | None:
        """The call that the form says, as a row stores it; None where a field has an error."""
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
            return None
        try:
            call = to_store(self.arguments, values)
        except ValidationError as error:
            self.add_error(None, error)
            return None
        self._check_call(*call)
        return call

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
        if self._hides(argument):
            return given in {"", UNCHANGED}
        shown: Any = bound.field.widget.format_value(bound.field.prepare_value(bound.field.initial))
        if isinstance(shown, list):  # of a select
            shown = next(iter(shown), "")
        return str(given).replace("\r\n", "\n") == str(shown or "").replace("\r\n", "\n")

    def _check_call(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Do they bind, and can the task be given what its annotations promise?"""
        task: Any = self.task
        try:
            check_arguments(task, args, kwargs)
            text = orjson.dumps([args, kwargs]).decode()
            if task.native:
                codec.decode_call(text, task.func, takes_context=task.takes_context)
        except (ArgumentError, PayloadError, TypeError) as error:
            named = re.search(r"argument '(\w+)'", str(error))
            field = f"{PREFIX}{named[1]}" if named and f"{PREFIX}{named[1]}" in self.fields else None
            self.add_error(field, str(error))


def usable(args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Stored arguments; what is neither a list nor a dict holds none."""
    return args if isinstance(args, list) else [], kwargs if isinstance(kwargs, dict) else {}

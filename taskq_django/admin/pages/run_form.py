"""The form that enqueues a task by hand: a field for each of its parameters."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from ... import codec
from ...exceptions import ArgumentError, PayloadError
from ...tasks import Task, check_arguments
from ..schedules.argument_fields import PREFIX, fields_of
from ..schedules.calls import to_store


class RunForm(forms.Form):
    """``call``: the arguments as the task gets them, once the form is valid."""

    def __init__(self, task: Task[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._task = task
        self._arguments = fields_of(task)
        self.fields.update({argument.name: argument.form_field for argument in self._arguments})
        self.call: tuple[list[Any], dict[str, Any]] = ([], {})

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        values: dict[str, Any] = {}
        for argument in self._arguments:
            name, value = argument.parameter.name, cleaned.get(argument.name)
            if value is None and argument.blank_is_none:
                values[name] = None
            elif value is not None and value != "":
                try:
                    values[name] = argument.stored(value)
                except ValidationError as error:
                    self.add_error(argument.name, error)
        if not self.errors:
            self._bind(values)
        return cleaned

    def _bind(self, values: dict[str, Any]) -> None:
        task = self._task
        try:
            args, kwargs = to_store(self._arguments, values)
            check_arguments(task, args, kwargs)
            text = json.dumps([args, kwargs], allow_nan=False)
            self.call = codec.decode_call(text, task.func if task.native else None, takes_context=task.takes_context)
        except ValidationError as error:
            self.add_error(None, error)
        except (ArgumentError, PayloadError, TypeError, ValueError, RecursionError) as error:
            self.refuse(error)

    def refuse(self, error: Exception) -> None:
        """At the field that it is about, if it names one."""
        named = re.search(r"argument '(\w+)'", str(error))
        field = f"{PREFIX}{named[1]}" if named and f"{PREFIX}{named[1]}" in self.fields else None
        self.add_error(field, str(error))

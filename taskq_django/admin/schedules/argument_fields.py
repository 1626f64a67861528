"""From a task's signature to form fields, and back to the arguments that a schedule's row stores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cached_property
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _t

from ... import codec
from ...codec.rebuilding import hints_of
from ...exceptions import PayloadError
from ...tasks import Task, parameters_of
from ..masking import MASK, holds_secret, is_secret
from .json_field import EXAMPLES, JSONField, to_stored

PREFIX = "arg-"
NAMED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class LinesField(forms.CharField):
    """A text of any number of lines: browsers send their ends as CR LF."""

    widget = forms.Textarea(attrs={"rows": 1, "class": "vTextField taskq-lines"})

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("\r\n", "\n") if isinstance(value, str) else value)


class TextField(LinesField):
    """A text as it is."""

    def __init__(self) -> None:
        super().__init__(strip=False, empty_value=None)


SIMPLE: dict[Any, type[forms.Field]] = {
    int: forms.IntegerField,
    float: forms.FloatField,
    str: TextField,
    Decimal: forms.DecimalField,
    datetime: forms.DateTimeField,
    date: forms.DateField,
    time: forms.TimeField,
    UUID: forms.UUIDField,
}
INPUTS = {datetime: "datetime-local", date: "date", time: "time"}
UNCHANGED = MASK  # stands for a secret that is stored


@dataclass(frozen=True)
class ArgumentField:
    """The form field of one parameter."""

    parameter: Parameter
    annotation: Any
    sensitive: frozenset[str]  # of the task

    @property
    def is_secret(self) -> bool:
        return is_secret(self.parameter.name, self.sensitive)

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.parameter.name}"

    @property
    def is_required(self) -> bool:
        return self.parameter.kind in NAMED and self.parameter.default is Parameter.empty and not self.takes_none

    @property
    def blank_is_none(self) -> bool:
        """Left empty, is None meant?"""
        return self.parameter.kind in NAMED and self.takes_none and not self._has_default

    def hides(self, stored: Any) -> bool:
        """Must this stored value not be shown?"""
        return self.is_secret or holds_secret(stored, self.sensitive)

    @property
    def is_json(self) -> bool:
        return isinstance(self.form_field, JSONField)

    @cached_property
    def form_field(self) -> forms.Field:
        # An error of a choice would tell what was chosen.
        choice = None if self.is_secret else self._choice()
        field = (
            choice
            or self._simple()
            or JSONField(self.parameter.name, wanted=self._collection, help_text=self._json_help)
        )
        stars = "*" * (self._collection is list) + "**" * (self._collection is dict)
        field.label = f"{stars}{self.parameter.name}"
        field.required = self.is_required
        if self._has_default and not isinstance(field, forms.ChoiceField):
            field.widget.attrs["placeholder"] = _text(self.parameter.default)
        if self.is_secret:
            field.widget = forms.PasswordInput(attrs={"autocomplete": "off", "placeholder": ""})
        field.widget.is_required = field.required
        return field

    def stored(self, value: Any) -> Any:
        """A cleaned value as the row keeps it. Raises ValidationError."""
        return value if self.is_json else to_stored(value, self.parameter.name)

    def stored_default(self) -> Any:
        """Raises ValidationError."""
        try:
            return to_stored(self.parameter.default, self.parameter.name)
        except ValidationError as error:
            raise ValidationError(_t("“%s” must be given.") % self.parameter.name) from error

    def initial(self, stored: Any) -> Any:
        """What the field shows of a stored value."""
        if self.is_json:
            return None if stored is None else json.dumps(stored, ensure_ascii=False)
        try:
            value = codec.decode_value(json.dumps(stored))
        except PayloadError:
            return json.dumps(stored)
        if isinstance(self.form_field, forms.ChoiceField):
            return _key(stored)
        if isinstance(value, datetime):  # by the clock by which the field will be read
            local = timezone.localtime(value).replace(tzinfo=None) if timezone.is_aware(value) else value
            return local.isoformat(timespec="seconds")
        return value.isoformat() if isinstance(value, (date, time)) else value

    def _choice(self) -> forms.Field | None:
        if self._base is bool:
            named: list[tuple[Any, Any]] = [(True, _t("Yes")), (False, _t("No"))]
        elif get_origin(self._base) is Literal:
            named = [(value, str(value)) for value in get_args(self._base) if value is not None]
        elif isinstance(self._base, type) and issubclass(self._base, Enum) and self._base.__members__:
            named = [(member, getattr(member, "label", member.name)) for member in self._base]
        else:
            return None
        try:
            keys = [_key(to_stored(value, self.parameter.name)) for value, _label in named]
        except ValidationError:  # the values of this Enum cannot travel
            return None
        choices = list(zip(keys, (label for _value, label in named), strict=True))
        values = dict(zip(keys, (value for value, _label in named), strict=True))
        none = _t("default: %s") % _text(self.parameter.default) if self._has_default else "---------"
        return forms.TypedChoiceField(choices=[("", none), *choices], coerce=values.__getitem__, empty_value=None)

    def _simple(self) -> forms.Field | None:
        cls = SIMPLE.get(self._base) if isinstance(self._base, type) else None
        if cls is None or self.parameter.kind not in NAMED:
            return None
        field = cls()
        if self._base in INPUTS:
            field.widget = field.widget.__class__(attrs={"type": INPUTS[self._base], "step": "1"})
        return field

    @property
    def _base(self) -> Any:
        """The annotation without ``| None``."""
        kinds = [kind for kind in _members(self.annotation) if kind is not NoneType]
        return kinds[0] if len(kinds) == 1 else None

    @property
    def takes_none(self) -> bool:
        return any(kind is NoneType or None in _literals(kind) for kind in _members(self.annotation))

    @property
    def _has_default(self) -> bool:
        return self.parameter.default is not Parameter.empty

    @property
    def _collection(self) -> type | None:
        if self.parameter.kind is Parameter.VAR_POSITIONAL:
            return list
        return dict if self.parameter.kind is Parameter.VAR_KEYWORD else None

    @property
    def _json_help(self) -> str:
        if self._collection is None:
            return _t('JSON: 5, "text", [1, 2], {"name": true}')
        return _t("JSON: %s") % EXAMPLES[self._collection]


def fields_of(task: Task[..., Any]) -> list[ArgumentField]:
    """One for each parameter of the task but its context."""
    known, *_ = parameters_of(task.func, task.takes_context)
    hints = hints_of(task.func)
    sensitive = frozenset(task.sensitive)
    return [ArgumentField(parameter, hints.get(name), sensitive) for name, parameter in known.parameters.items()]


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)


def _key(stored: Any) -> str:
    return json.dumps(stored, sort_keys=True)  # PostgreSQL has an order of its own


def _literals(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return _t("Yes") if value else _t("No")
    if isinstance(value, Enum):
        return value.name
    return value if isinstance(value, str) else str(value)

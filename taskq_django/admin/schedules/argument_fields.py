"""From a task's signature to form fields, and back to the arguments that a schedule's row stores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cached_property
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import orjson
from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _t

from ... import codec
from ...compat import AnyTask
from ...exceptions import ArgumentError, PayloadError
from ...tasks import parameters_of
from ..masking import is_secret
from .json_field import JSONField

PREFIX = "arg-"
NAMED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
SIMPLE: dict[Any, type[forms.Field]] = {
    int: forms.IntegerField,
    float: forms.FloatField,
    str: forms.CharField,
    Decimal: forms.DecimalField,
    datetime: forms.DateTimeField,
    date: forms.DateField,
    time: forms.TimeField,
    UUID: forms.UUIDField,
}
INPUTS = {datetime: "datetime-local", date: "date", time: "time"}
UNCHANGED = "••••"  # stands for a secret that is stored

Stored = tuple[list[Any], dict[str, Any]]


@dataclass(frozen=True)
class ArgumentField:
    """The form field of one parameter."""

    parameter: Parameter
    annotation: Any
    is_secret: bool

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.parameter.name}"

    @property
    def is_required(self) -> bool:
        return self.parameter.kind in NAMED and self.parameter.default is Parameter.empty and not self._takes_none

    @property
    def is_json(self) -> bool:
        return isinstance(self.form_field, JSONField)

    @cached_property
    def form_field(self) -> forms.Field:
        field = self._choice() or self._simple() or JSONField(wanted=self._collection, help_text=self._json_help)
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
        if self.is_json:
            return value
        try:
            return orjson.loads(codec.encode_call([], {"value": value}))[1]["value"]
        except ArgumentError as error:
            raise ValidationError(str(error)) from error

    def stored_default(self) -> Any:
        """Raises ValidationError."""
        try:
            return orjson.loads(codec.encode_call([], {"value": self.parameter.default}))[1]["value"]
        except ArgumentError as error:
            raise ValidationError(_t("“%s” must be given.") % self.parameter.name) from error

    def initial(self, stored: Any) -> Any:
        """What the field shows of a stored value."""
        if self.is_json:
            return stored
        try:
            value = codec.decode_value(json.dumps(stored))
        except PayloadError:
            return json.dumps(stored)
        if isinstance(self.form_field, forms.ChoiceField):
            return json.dumps(stored)
        if isinstance(value, datetime):  # by the clock by which the field will be read
            local = timezone.localtime(value).replace(tzinfo=None) if timezone.is_aware(value) else value
            return local.isoformat(timespec="seconds")
        return value.isoformat() if isinstance(value, (date, time)) else value

    def _choice(self) -> forms.Field | None:
        if self._base is bool:
            choices: list[tuple[str, Any]] = [("true", _t("Yes")), ("false", _t("No"))]
            values: dict[str, Any] = {"true": True, "false": False}
        elif get_origin(self._base) is Literal:
            values = {json.dumps(value, default=str): value for value in get_args(self._base)}
            choices = [(key, str(value)) for key, value in values.items()]
        elif isinstance(self._base, type) and issubclass(self._base, Enum):
            values = {json.dumps(member.value, default=str): member for member in self._base}
            choices = [(key, getattr(member, "label", member.name)) for key, member in values.items()]
        else:
            return None
        none = _t("default: %s") % _text(self.parameter.default) if self._has_default else "---------"
        return forms.TypedChoiceField(choices=[("", none), *choices], coerce=values.__getitem__, empty_value=None)

    def _simple(self) -> forms.Field | None:
        cls = SIMPLE.get(self._base)
        if cls is None or self.parameter.kind not in NAMED:
            return None
        field = cls(strip=False, empty_value=None) if cls is forms.CharField else cls()
        if self._base in INPUTS:
            field.widget = field.widget.__class__(attrs={"type": INPUTS[self._base], "step": "1"})
        elif cls is forms.CharField:
            field.widget.attrs["class"] = "vTextField"
        return field

    @property
    def _base(self) -> Any:
        """The annotation without ``| None``."""
        kinds = [kind for kind in _members(self.annotation) if kind is not NoneType]
        return kinds[0] if len(kinds) == 1 else None

    @property
    def _takes_none(self) -> bool:
        return NoneType in _members(self.annotation)

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
        match self._collection:
            case None:
                return _t('JSON: 5, "text", [1, 2], {"name": true}')
            case kind:
                return _t("JSON: %s") % ("[1, 2]" if kind is list else '{"name": true}')


def fields_of(task: AnyTask) -> list[ArgumentField]:
    """One for each parameter of the task but its context."""
    known, *_ = parameters_of(task.func, task.takes_context)
    try:
        hints = get_type_hints(task.func)
    except Exception:  # a name that is there for the type checker only
        hints = {name: p.annotation for name, p in known.parameters.items() if not isinstance(p.annotation, str)}
    sensitive = frozenset(getattr(task, "sensitive", ()))
    return [
        ArgumentField(parameter, hints.get(name), is_secret(name, sensitive))
        for name, parameter in known.parameters.items()
    ]


def signature_text(task: AnyTask) -> str:
    """``add(x: int, y: int = 2)``, without the context."""
    known, *_ = parameters_of(task.func, task.takes_context)
    return f"{task.func.__name__}{known.replace(return_annotation=known.empty)}"


def by_parameter(fields: Sequence[ArgumentField], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Stored arguments by the names of the parameters they fill; those that fill none are left out."""
    found: dict[str, Any] = {}
    rest = list(args)
    others = dict(kwargs)
    for field in fields:
        parameter = field.parameter
        match parameter.kind:
            case Parameter.VAR_POSITIONAL:
                if rest:
                    found[parameter.name], rest = rest, []
            case Parameter.VAR_KEYWORD:
                if others:
                    found[parameter.name] = others
            case Parameter.KEYWORD_ONLY:
                if parameter.name in others:
                    found[parameter.name] = others.pop(parameter.name)
            case _:
                if rest:
                    found[parameter.name] = rest.pop(0)
                elif parameter.name in others:
                    found[parameter.name] = others.pop(parameter.name)
    return found


def to_store(fields: Sequence[ArgumentField], values: Mapping[str, Any]) -> Stored:
    """``values``: stored values by parameter; the opposite of ``by_parameter``. Everything that can goes by name.

    Raises ValidationError where the default of a parameter must be passed, and cannot be stored.
    """
    kinds = {field.parameter.name: field.parameter.kind for field in fields}
    star = next((name for name, kind in kinds.items() if kind is Parameter.VAR_POSITIONAL), "")
    others = next((name for name, kind in kinds.items() if kind is Parameter.VAR_KEYWORD), "")
    # What follows in *args must be preceded by all that has a name.
    ordered = NAMED[:2] if values.get(star) else NAMED[:1]
    in_order = [field for field in fields if field.parameter.kind in ordered]
    while in_order and not values.get(star) and in_order[-1].parameter.name not in values:
        in_order.pop()  # its default is the function's own matter
    args = [
        values[field.parameter.name] if field.parameter.name in values else field.stored_default() for field in in_order
    ]
    by_order = {field.parameter.name for field in in_order}
    kwargs = {name: value for name, value in values.items() if name not in {star, others} | by_order}
    return args + list(values.get(star, [])), kwargs | dict(values.get(others, {}))


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return _t("Yes") if value else _t("No")
    if isinstance(value, Enum):
        return value.name
    return value if isinstance(value, str) else str(value)

"""Between the arguments that a schedule's row stores and the parameters that they fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from inspect import Parameter, Signature
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _t

from ...tasks import Task
from ..masking import MASK
from .argument_fields import NAMED, ArgumentField, fields_of

Stored = tuple[list[Any], dict[str, Any]]


def signature_text(task: Task[..., Any]) -> str:
    """``add(x: int, y: int = 2)``, without the context."""
    shown = []
    for field in fields_of(task):
        parameter = field.parameter
        if isinstance(parameter.annotation, str):
            parameter = parameter.replace(annotation=_Bare(parameter.annotation))
        if field.is_secret and parameter.default is not Parameter.empty:
            parameter = parameter.replace(default=_Bare(MASK))
        elif isinstance(parameter.default, Enum):
            parameter = parameter.replace(default=_Bare(f"{type(parameter.default).__name__}.{parameter.default.name}"))
        shown.append(parameter)
    return f"{task.func.__name__}{Signature(shown)}"


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
                elif parameter.name in others and parameter.kind is not Parameter.POSITIONAL_ONLY:
                    found[parameter.name] = others.pop(parameter.name)
    return found


def to_store(fields: Sequence[ArgumentField], values: Mapping[str, Any]) -> Stored:
    """``values``: stored values by parameter; the opposite of ``by_parameter``. Everything that can goes by name.

    Raises ValidationError where the default of a parameter must be passed, and cannot be stored; where a name
    comes twice.
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
    more = dict(values.get(others, {}))
    for name in more.keys() & {field.parameter.name for field in fields if field.parameter.kind in NAMED[1:]}:
        raise ValidationError(
            _t("“%(name)s” is given twice: it has a field, and is in “%(more)s” too.") % {"name": name, "more": others}
        )
    return args + list(values.get(star, [])), kwargs | more


@dataclass(frozen=True)
class _Bare:
    """A text that stands in a signature without quotes."""

    text: str

    def __repr__(self) -> str:
        return self.text

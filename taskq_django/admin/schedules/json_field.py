"""A form field for JSON, with errors that say where the text is wrong."""

from __future__ import annotations

import json
from typing import Any

import orjson
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _t

from ... import codec
from ...codec.tags import from_json
from ...exceptions import ArgumentError, PayloadError

LONGEST = 100_000  # characters
EXAMPLES: dict[type, str] = {list: "[1, 2]", dict: '{"name": true}'}


class JSONField(forms.Field):
    """Its value is as a schedule's row stores it: JSON, where the codec's tags stand for a datetime and so on.

    What it shows, its initial value too, is the text of that.
    """

    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "class": "taskq-json"})
    empty_values = [None]

    def __init__(self, name: str, *, wanted: type | None = None, **kwargs: Any) -> None:
        """``name``: of the argument, for messages; ``wanted``: list or dict, when it must be one."""
        super().__init__(**kwargs)
        self._name, self._wanted = name, wanted

    def to_python(self, value: Any) -> Any:
        text = (value or "").strip()
        if not text:
            return None
        if len(text) > LONGEST:
            raise ValidationError(_t("This is too long: %d characters at most.") % LONGEST)
        found = read_json(text, self._name)
        if self._wanted is not None and not isinstance(found, self._wanted):
            raise ValidationError(_t("This must be like %s.") % EXAMPLES[self._wanted])
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != self.to_python(initial))
        except ValidationError:
            return True


def read_json(text: str, name: str) -> Any:
    """As a row stores it. Raises ValidationError, with the place of the mistake."""
    try:
        found = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_twins)
        return to_stored(from_json(found), name)
    except json.JSONDecodeError as error:
        where = _t("line %(line)d, column %(column)d") % {"line": error.lineno, "column": error.colno}
        raise ValidationError(
            _t("This is not JSON: %(why)s (%(where)s).") % {"why": error.msg, "where": where}
        ) from None
    except RecursionError:
        raise ValidationError(_t("This is nested too deep.")) from None
    except (PayloadError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise ValidationError(_t("This cannot be sent to a task: %s") % error) from None


def to_stored(value: Any, name: str) -> Any:
    """The value of the argument of this name as a row stores it. Raises ValidationError."""
    try:
        return orjson.loads(codec.encode_call([value], {}, names=(name,)))[0][0]
    except ArgumentError as error:
        raise ValidationError(str(error)) from error


def _refuse_constant(name: str) -> Any:
    raise ValidationError(_t("%s is not JSON.") % name)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValidationError(_t("%r is given twice.") % name)
        found[name] = value
    return found

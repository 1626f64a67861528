"""Pure formatters: values in, text or safe HTML out. Whatever was stored is hostile and gets escaped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ..conf import taskq_settings
from ..registry import registry
from ..states import State
from ..tasks import parameters_of

MASK = "••••"
LONGEST = 64_000  # characters of one text that a page shows
SHORT = 60


def badge(status: str) -> SafeString:
    return format_html('<span class="taskq-badge taskq-{}">{}</span>', status.lower(), State(status).label)


def task_name(path: str) -> SafeString:
    """Its last part bold, the module beside it muted."""
    module, _, name = path.rpartition(".")
    return format_html('<strong>{}</strong> <span class="taskq-muted">{}</span>', name or path, module)


def moment(value: datetime | None) -> str:
    """With seconds, in the current time zone."""
    if value is None:
        return "–"
    local = timezone.localtime(value) if timezone.is_aware(value) else value
    return local.strftime("%Y-%m-%d %H:%M:%S")


def duration(begin: datetime | None, end: datetime | None) -> str:
    if begin is None or end is None:
        return "–"
    seconds = max(0.0, (end - begin).total_seconds())
    if seconds < 60:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def short_arguments(payload: str, task_path: str) -> str:
    """One line of a list; ``payload`` may be cut off."""
    call = _parsed(payload)
    if call is None:
        # A cut or broken text cannot be searched for secrets, so nothing of it is shown.
        return "…"
    args, kwargs = _masked(call, task_path)
    parts = [_compact(value) for value in args] + [f"{name}={_compact(value)}" for name, value in kwargs.items()]
    return cut(", ".join(parts), SHORT)


def pretty_arguments(payload: str, task_path: str) -> str:
    call = _parsed(payload)
    if call is None:
        return "These arguments cannot be read."
    args, kwargs = _masked(call, task_path)
    named = {f"{position}": value for position, value in enumerate(args)} | kwargs
    names = _positional_names(task_path)
    shown = {names[int(key)] if key.isdigit() and int(key) < len(names) else key: value for key, value in named.items()}
    return cut(json.dumps(shown, indent=2, ensure_ascii=False), LONGEST)


def pretty_value(text: str | None) -> str:
    if text is None:
        return ""
    try:
        return cut(json.dumps(_masked_keys(orjson.loads(text)), indent=2, ensure_ascii=False), LONGEST)
    except orjson.JSONDecodeError:
        return "This value cannot be read."


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _parsed(payload: str) -> tuple[list[Any], dict[str, Any]] | None:
    try:
        call = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    match call:
        case [list() as args, dict() as kwargs]:
            return args, kwargs
        case _:
            return None


def _masked(call: tuple[list[Any], dict[str, Any]], task_path: str) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = call
    task = registry.get(task_path)
    sensitive = set(getattr(task, "sensitive", ()))
    names = _positional_names(task_path)
    shown = [
        MASK if position < len(names) and _is_secret(names[position], sensitive) else _masked_keys(value)
        for position, value in enumerate(args)
    ]
    return shown, {name: MASK if _is_secret(name, sensitive) else _masked_keys(value) for name, value in kwargs.items()}


def _masked_keys(value: Any) -> Any:
    """The same with the values of secret keys masked, at any depth, and our tags read for people."""
    if isinstance(value, list):
        return [_masked_keys(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"$t", "v"} and isinstance(value["$t"], str):
            inner = _masked_keys(value["v"])
            return inner if value["$t"] in {"dict", "tuple", "set", "frozenset"} else f"{value['$t']} {_plain(inner)}"
        return {key: MASK if _is_secret(key, set()) else _masked_keys(item) for key, item in value.items()}
    return value


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _is_secret(name: str, sensitive: set[str]) -> bool:
    lower = name.lower()
    return name in sensitive or any(word in lower for word in taskq_settings().admin.redact)


def _positional_names(task_path: str) -> Sequence[str]:
    task = registry.get(task_path)
    return parameters_of(task.func, task.takes_context)[1] if task else ()


def _compact(value: Any) -> str:
    return cut(json.dumps(value, ensure_ascii=False), SHORT)

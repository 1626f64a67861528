"""Pure formatters: values in, text or safe HTML out. Whatever was stored is hostile and gets escaped."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _t

from ..states import State
from .masking import MASK, masked, masked_call, who_know

LONGEST = 64_000  # characters of one text that a page shows
SHORT = 60
SHOWN_PAYLOAD = 200  # characters that a list reads
SHOWN_HEADERS = 4000  # characters; of a job that has more a list shows no argument
NBSP = "\N{NO-BREAK SPACE}"  # a number and its unit stay on one line


def badge(status: str) -> SafeString:
    # A newer version may have written a state that this one does not know.
    label = State(status).label if status in State.values else status
    return format_html('<span class="taskq-badge taskq-{}">{}</span>', status.lower(), label)


def task_name(path: str) -> SafeString:
    """Its last part bold, the module beside it muted."""
    module, _, name = path.rpartition(".")
    return format_html('<strong>{}</strong> <span class="taskq-muted">{}</span>', name or path, module)


def moment(value: datetime | None) -> str:
    """With seconds, in the current time zone."""
    if value is None:
        return "–"
    try:
        local = timezone.localtime(value) if timezone.is_aware(value) else value
    except OverflowError:  # the last hours of the year 9999
        local = value
    return local.strftime("%Y-%m-%d %H:%M:%S")


def duration(begin: datetime | None, end: datetime | None) -> str:
    if begin is None or end is None:
        return "–"
    seconds = max(0.0, (end - begin).total_seconds())
    if seconds < 60:
        return f"{seconds:.3f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NBSP}h {minutes}{NBSP}min" if hours else f"{minutes}{NBSP}min {rest}{NBSP}s"


def span(length: timedelta) -> str:
    """Roughly, in its two largest units: ``2 d 4 h``."""
    seconds = max(0, round(length.total_seconds()))
    for size, unit, smaller, name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            first, rest = divmod(seconds, size)
            second = rest // smaller
            return f"{first}{NBSP}{unit} {second}{NBSP}{name}" if second else f"{first}{NBSP}{unit}"
    return f"{seconds}{NBSP}s"


def short_arguments(payload: str, task_path: str, headers: str) -> str:
    """One line of a list; of a ``payload`` that is cut off, the arguments that are complete."""
    call = _parsed(payload)
    if call is None and len(payload) < SHOWN_PAYLOAD:
        return _t("unreadable")
    # The piece that is cut through cannot be searched for secrets, so nothing of it is shown.
    found = masked_call(*(call or _complete_part(payload)), task_path, headers)
    if found is None:
        return MASK
    args, kwargs = found
    parts = [_compact(value) for _, value in args] + [f"{name}={_compact(value)}" for name, value in kwargs.items()]
    return cut(", ".join(parts if call else [*parts, "…"]), SHORT)


def pretty_arguments(payload: str, task_path: str, headers: str = "") -> str:
    call = _parsed(payload)
    if call is None:
        return _t("These arguments cannot be read.")
    found = masked_call(*call, task_path, headers)
    if found is None:
        return _t("%s: nobody here knows which of these arguments are secret.") % MASK
    args, kwargs = found
    shown = dict(args)
    for name, value in kwargs.items():
        shown[f"**{name}" if name in shown else name] = value
    return cut(json.dumps(shown, indent=2, ensure_ascii=False), LONGEST)


def pretty_value(text: str | None, task_path: str, headers: str) -> str:
    if text is None:
        return ""
    if not who_know(task_path, headers):
        return _t("%s: nobody here knows whether this is secret.") % MASK
    try:
        return cut(json.dumps(masked(orjson.loads(text)), indent=2, ensure_ascii=False), LONGEST)
    except orjson.JSONDecodeError:
        return _t("This value cannot be read.")


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def cut_middle(text: str) -> str:
    """For tracebacks: where it began and what it came to are both worth reading."""
    half = LONGEST // 2 - 1
    return text if len(text) <= LONGEST else f"{text[:half]}\n…\n{text[-half:]}"


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


def _complete_part(payload: str) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    read = json.JSONDecoder().raw_decode
    at = 2
    # Where the text is cut off, one of these ends the reading. A value counts when something follows it: the
    # beginning of a number is a number too. Each is read as the page of the job reads it, by orjson: what that
    # refuses (a lone surrogate, say) no page could be sent with.
    with suppress(ValueError, IndexError, RecursionError):
        while payload.startswith("[[") and payload[at] != "]":
            end = read(payload, at)[1]
            args.append(orjson.loads(payload[at:end]))
            at = end + (payload[end] == ",")
        at += len("],{")
        while payload.startswith("[[") and payload[at] == '"':
            begin = read(payload, at)[1] + 1
            end = read(payload, begin)[1]
            kwargs[orjson.loads(payload[at : begin - 1])] = orjson.loads(payload[begin:end])
            at = end + (payload[end] == ",")
    return args, kwargs


def _compact(value: Any) -> str:
    return cut(json.dumps(value, ensure_ascii=False), SHORT)

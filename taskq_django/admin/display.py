"""Pure formatters: values in, text or safe HTML out. Whatever was stored is hostile and gets escaped."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language_bidi
from django.utils.translation import gettext as _t

from ..exceptions import lasting
from ..jobs import Progress
from ..models.moments import aware
from ..states import State
from .masking import MASK, Call, masked, masked_call, who_know, without_passwords

LONGEST = 64_000  # characters of one text that a page shows
SHORT = 60
SHOWN_PAYLOAD = 200  # characters that a list reads
SHOWN_HEADERS = 4000  # characters; of a job that has more a list shows no argument
SHOWN_MESSAGE = 300  # characters of an exception's that a list reads
NBSP = "\N{NO-BREAK SPACE}"  # a number and its unit stay on one line


def badge(status: str) -> SafeString:
    return format_html('<span class="taskq-badge taskq-{}">{}</span>', status.lower(), state_label(status))


def state_label(status: str) -> str:
    # A newer version may have written a state that this one does not know.
    return str(State(status).label) if status in State.values else status


def moment(value: datetime | None) -> str:
    """With seconds, in the current time zone."""
    if value is None:
        return "–"
    try:
        local = timezone.localtime(value) if timezone.is_aware(value) else value
    except OverflowError:  # the last hours of the year 9999
        local = value
    return local.strftime("%Y-%m-%d %H:%M:%S")


def exactly(value: datetime) -> str:
    """The moment with its zone."""
    return f"{moment(value)} {timezone.get_current_timezone_name()}"


def when(value: datetime | None) -> SafeString | str:
    """How long ago, or how long until then; the exact moment is its title."""
    if value is None:
        return "–"
    gap = aware(timezone.now()) - aware(value)
    text = _t("%s ago") % span(gap) if gap >= timedelta() else _t("in %s") % span(-gap)
    return format_html('<time datetime="{}" title="{}">{}</time>', aware(value).isoformat(), exactly(value), text)


def how_far(progress: Progress) -> str:
    """``312 of 1,000``; the first number alone where the whole is not known."""
    done, total = (None if each is None else _number(each) for each in (progress.done, progress.total))
    return str(done) if total is None else _t("%(done)s of %(total)s") % {"done": done, "total": total}


def _number(count: float) -> str:
    return number_format(count if isinstance(count, int) else round(count, 2), force_grouping=True)


def duration(begin: datetime | None, end: datetime | None) -> str:
    if begin is None or end is None:
        return "–"
    seconds = max(0.0, (end - begin).total_seconds())
    if seconds < 60:
        return isolated(f"{seconds:.3f}{NBSP}s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return isolated(f"{hours}{NBSP}h {minutes}{NBSP}min" if hours else f"{minutes}{NBSP}min {rest}{NBSP}s")


def span(length: timedelta) -> str:
    """Roughly, in its two largest units: ``2 d 4 h``."""
    return isolated(lasting(length.total_seconds(), NBSP))


def isolated(text: str) -> str:
    """A text that reads from the left, for a sentence: in a language that reads from the right within its marks."""
    return f"\N{LEFT-TO-RIGHT ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}" if get_language_bidi() else text


def short_arguments(
    payload: str, task_path: str, headers: str, *, longest: int = SHORT, read: int = SHOWN_PAYLOAD
) -> str:
    """``order=42, notify=true``, in ``longest`` characters.

    Of a ``payload`` that is cut off after ``read`` of them, the arguments that are complete.
    """
    call = _parsed(payload)
    if call is None and len(payload) < read:
        return _t("unreadable")
    # The piece that is cut through cannot be searched for secrets, so nothing of it is shown.
    found = masked_call(*(call or _complete_part(payload)), task_path, headers)
    if found is None:
        return MASK
    parts = [_compact(value) if name.isdecimal() else f"{name}={_compact(value)}" for name, value in named(found)]
    return cut(", ".join(parts if call else [*parts, "…"]), longest)


def named(call: Call) -> list[tuple[str, Any]]:
    """All arguments by the names of their parameters; what is in ``*args`` by its number."""
    args, kwargs = call
    return [*args, *kwargs.items()]


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


def class_name(path: str) -> str:
    """Of an exception, without its module."""
    return path.rpartition(".")[2]


def short_message(text: str, read: int = SHOWN_MESSAGE) -> str:
    """The first line of a message of which ``read`` characters were read, without the passwords of URLs."""
    if len(text) >= read:
        text = text.rpartition(" ")[0] + " …"  # a word that is cut through may hide one
    return without_passwords(text).strip().partition("\n")[0]


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

"""What may be done to schedules beside editing them: each act is one transaction with its entry in the history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db import router, transaction
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ...beat import declared
from ...beat.firing import call_of, run_now, task_of
from ...exceptions import BrokenSchedule, SpecError
from ...models import Schedule
from ...models.schedule import EDITABLE
from ..lists import job_url
from .columns import schedule_url
from .many import ActOnMany, disable_many, enable_many, run_many
from .schedulable import may, may_schedule

MOST_ERRORS = 10  # that one page shows

Act = Callable[[Any, HttpRequest, Schedule], str]


class Refused(Exception):
    """It cannot be done to this schedule; the message is for people."""


def run(model_admin: Any, request: HttpRequest, row: Schedule) -> str:
    try:
        task, _backend = task_of(row)
        if not may_schedule(request.user, task):  # it was unknown when that was asked first
            raise Refused(_t("You may not do this to “%s”.") % row)
        firing = run_now(row, _database())
    except BrokenSchedule as error:
        raise Refused(_t("“%(row)s” cannot run: %(why)s") % {"row": row, "why": error}) from error
    job_id = firing.job.id
    model_admin.log_change(request, row, _t("Run now: job %s") % job_id)
    link = format_html('<a href="{}">{}</a>', job_url(model_admin.admin_site.name, job_id), job_id)
    if firing.veto is not None:
        return format_html(_t("“{}” was not let through: {} ({})"), row, firing.veto, link)
    return format_html(_t("“{}” was enqueued as job {}."), row, link)


def switch(model_admin: Any, request: HttpRequest, row: Schedule, *, on: bool) -> str:
    row.enabled = on
    try:
        row.save(update_fields=["enabled"])
    except SpecError as error:
        raise Refused(_t("“%(row)s” cannot be saved: %(why)s") % {"row": row, "why": error}) from error
    model_admin.log_change(request, row, _t("Enabled.") if on else _t("Disabled."))
    return (_t("“%s” is enabled.") if on else _t("“%s” is disabled.")) % row


def duplicate(model_admin: Any, request: HttpRequest, row: Schedule) -> str:
    try:
        call_of(row)
    except BrokenSchedule as error:
        raise Refused(_t("“%(row)s” cannot be duplicated: %(why)s") % {"row": row, "why": error}) from error
    copy = Schedule(**{name: getattr(row, name) for name in EDITABLE})
    base, number = row.name[:185], 1
    copy.name, copy.enabled = _t("%s (copy)") % base, False
    while Schedule.objects.filter(name=copy.name).exists():
        number += 1
        copy.name = _t("%(name)s (copy %(number)d)") % {"name": base, "number": number}
    try:
        copy.save()
    except RecursionError as error:  # arguments so deep can be read, but not by every driver be written
        why = _t("its arguments are nested too deep")
        raise Refused(_t("“%(row)s” cannot be duplicated: %(why)s") % {"row": row, "why": why}) from error
    model_admin.log_addition(request, copy, _t("Duplicated from “%s”.") % row)
    link = format_html('<a href="{}">{}</a>', schedule_url(model_admin.admin_site.name, "change", copy.pk), copy)
    return format_html(_t("“{}” was made; it is disabled."), link)


def revert(model_admin: Any, request: HttpRequest, row: Schedule) -> str:
    if not declared.revert(row, _database()):
        raise Refused(_t("The code says nothing of “%s” any more.") % row)
    model_admin.log_change(request, row, _t("Reverted to what the code says."))
    return _t("“%s” is again what the code says.") % row


ACTS: dict[str, Act] = {
    "run": run,
    "enable": partial(switch, on=True),
    "disable": partial(switch, on=False),
    "duplicate": duplicate,
    "revert": revert,
}


LABELS = {
    "run": _("Run now"),
    "enable": _("Enable"),
    "disable": _("Disable"),
    "duplicate": _("Duplicate"),
    "revert": _("Revert to code"),
}


def act_on_one(model_admin: Any, request: HttpRequest, verb: str, row: Schedule) -> None:
    """Says what came of it."""
    try:
        with transaction.atomic(using=_database()):
            message = ACTS[verb](model_admin, request, row)
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, message)


def _duplicate_many(model_admin: Any, request: HttpRequest, rows: Sequence[Schedule]) -> tuple[int, list[str]]:
    errors = []
    for row in rows:
        try:
            with transaction.atomic(using=_database()):
                duplicate(model_admin, request, row)
        except Refused as error:
            errors.append(str(error))
    return len(rows) - len(errors), errors


def _on_selected(verb: str, label: Any, permission: str, done: Any, act_on_many: ActOnMany) -> Callable[..., None]:
    """An action of the list: one message for all that went well, and one for each that did not.

    ``done`` has a ``%d``.
    """

    @admin.action(description=label, permissions=[permission])
    def act(model_admin: Any, request: HttpRequest, rows: Iterable[Schedule]) -> None:
        chosen = list(rows)
        allowed = [row for row in chosen if may(model_admin, request, verb, row)]
        theirs = {row.pk for row in allowed}
        errors = [_t("You may not do this to “%s”.") % row for row in chosen if row.pk not in theirs]
        count, refused = act_on_many(model_admin, request, allowed)
        if count:
            messages.success(request, done % count)
        errors += refused
        for text in errors[:MOST_ERRORS]:
            messages.error(request, text)
        if len(errors) > MOST_ERRORS:
            messages.error(request, _t("And %d more.") % (len(errors) - MOST_ERRORS))

    act.__name__ = f"{verb}_selected"  # by which the form of the list asks for it
    return act


ON_SELECTED = (
    _on_selected("run", _("Run now"), "run", _("Enqueued now: %d."), run_many),
    _on_selected("enable", _("Enable"), "change", _("Enabled: %d."), enable_many),
    _on_selected("disable", _("Disable"), "change", _("Disabled: %d."), disable_many),
    _on_selected("duplicate", _("Duplicate"), "add", _("Duplicated, and disabled: %d."), _duplicate_many),
)


def _database() -> str:
    return router.db_for_write(Schedule)

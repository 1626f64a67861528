"""The acts on many schedules, by few statements: one by one, five thousand would hold a request for ten seconds.

Each takes rows that its user may do it to, and returns how many it was done to, and why not to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.db import router, transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils.translation import gettext as _t

from ...beat.firing import enqueue_firings, firing_of, let_through, task_of
from ...exceptions import BrokenSchedule, SpecError
from ...models import Schedule
from ...models.moments import as_orm_has, database_now
from ...models.schedule import SWITCHED_OFF, slot_of_each
from .schedulable import may_schedule

AT_ONCE = 500  # rows in one transaction

ActOnMany = Callable[[Any, HttpRequest, Sequence[Schedule]], tuple[int, list[str]]]


def run_many(model_admin: Any, request: HttpRequest, rows: Sequence[Schedule]) -> tuple[int, list[str]]:
    """Enqueue the job of each, beside its slots."""
    errors, count, database = [], 0, _database()
    for some in _batches(rows):
        now, firings = database_now(database), []
        for row in some:
            try:
                task, _backend = task_of(row)
                if not may_schedule(request.user, task):  # it was unknown when that was asked first
                    errors.append(_t("You may not do this to “%s”.") % row)
                    continue
                firings.append(let_through(firing_of(row, now, database, by_hand=True)))
            except BrokenSchedule as error:
                errors.append(_t("“%(row)s” cannot run: %(why)s") % {"row": row, "why": error})
        with transaction.atomic(using=database):
            enqueue_firings(firings, now, database, by_hand=True)
            _note(request, [(firing.schedule, _t("Run now: job %s") % firing.job.id) for firing in firings])
        count += len(firings)
    return count, errors


def enable_many(model_admin: Any, request: HttpRequest, rows: Sequence[Schedule]) -> tuple[int, list[str]]:
    """Plan each that is disabled or broken from now on. The others keep their slots."""
    errors, count, database = [], 0, _database()
    for some in _batches(rows):
        with transaction.atomic(using=database):
            now, enabled = database_now(database), []
            slots: dict[int, Any] = {}
            rows_now = Schedule.objects.using(database).filter(pk__in=[row.pk for row in some])
            for row in rows_now.order_by("pk").select_for_update():
                is_planned = row.enabled and not row.broken
                row.enabled = True
                try:
                    if not is_planned:
                        row.plan_from(now)
                        slots[row.pk] = row.next_run_at
                except SpecError as error:
                    errors.append(_t("“%(row)s” cannot be saved: %(why)s") % {"row": row, "why": error})
                else:
                    enabled.append(row)
            for is_finished in (False, True):
                keys = [key for key, slot in slots.items() if (slot is None) == is_finished]
                changes = {"enabled": True, "disabled_reason": "", "broken": "", "is_finished": is_finished}
                _write(keys, now, next_run_at=slot_of_each({key: slots[key] for key in keys}), **changes)
            _note(request, [(row, _t("Enabled.")) for row in enabled])
        count += len(enabled)
    return count, errors


def disable_many(model_admin: Any, request: HttpRequest, rows: Sequence[Schedule]) -> tuple[int, list[str]]:
    for some in _batches(rows):
        with transaction.atomic(using=_database()):
            _write([row.pk for row in some], database_now(_database()), **SWITCHED_OFF)
            _note(request, [(row, _t("Disabled.")) for row in some])
    return len(rows), []


def _write(keys: Sequence[int], now: datetime, **changes: Any) -> None:
    rows = Schedule.objects.using(_database()).filter(pk__in=keys)
    rows.update(edited_at=as_orm_has(now), version=F("version") + 1, **changes)


def _note(request: HttpRequest, told: Sequence[tuple[Schedule, str]]) -> None:
    """An entry of the admin's log for each."""
    kind = get_content_type_for_model(Schedule).pk
    who = str(request.user.pk)
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=who,
            content_type_id=kind,
            object_id=str(row.pk),
            object_repr=str(row)[:200],
            action_flag=CHANGE,
            change_message=text,
        )
        for row, text in told
    )


def _batches(rows: Sequence[Schedule]) -> Iterator[Sequence[Schedule]]:
    return (rows[begin : begin + AT_ONCE] for begin in range(0, len(rows), AT_ONCE))


def _database() -> str:
    return router.db_for_write(Schedule)

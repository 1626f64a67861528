"""Schedules that are written in code, and their rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F

from ..exceptions import ArgumentError, BrokenSchedule
from ..models import Schedule
from ..models.moments import DatabaseNow, as_orm_has
from ..models.schedule import SWITCHED_OFF
from ..registry import registry
from ..schedules.declaring import DeclaredSchedule
from ..store.connections import own_transaction
from ..tasks import Task, check_arguments
from .firing import stored_call, task_of

logger = logging.getLogger("taskq_django.beat")

REMOVED = "It is no longer declared in the code."
# Fields of a declaration that are not copied into its row as they are. The name, and whether it is enabled, are set
# when the row is made, and then belong to the row; the others have another form or another name there.
NOT_COPIED = {"name", "enabled", "args", "kwargs", "timezone", "start", "end"}


@dataclass(frozen=True, slots=True)
class Synced:
    """How many rows were made, changed and disabled."""

    created: int = 0
    changed: int = 0
    removed: int = 0


def declarations() -> Iterator[tuple[str, Task[..., Any], DeclaredSchedule]]:
    """Each schedule of each task, with the name by which its row is found again."""
    for task in registry.all():
        for position, schedule in enumerate(task.schedule):
            key = schedule.name or (task.module_path if position == 0 else f"{task.module_path} #{position + 1}")
            yield key, task, schedule


def judged() -> Iterator[tuple[str, Task[..., Any], DeclaredSchedule, str]]:
    """The same, each with what is wrong with it, in words; "" for nothing. Asks no database."""
    seen = set()
    for key, task, schedule in declarations():
        if key in seen:
            yield key, task, schedule, "another schedule in code has this name: give it another name=…"
        else:
            yield key, task, schedule, _problem_of(key, task, schedule)
        seen.add(key)


def _problem_of(key: str, task: Task[..., Any], declared: DeclaredSchedule) -> str:
    try:
        row = Schedule(name=key[:200], declared_as=key, **row_values(task, declared))
        row.clean_fields()
        row.clean()
        task_of(row)
    except ValidationError as error:
        return "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
    except (ArgumentError, BrokenSchedule) as error:
        return str(error)
    return ""


def sync(database: str, *, is_trial: bool = False) -> Synced:
    """Make the rows what the code says: new ones are made, changed ones changed unless somebody has done so in the
    admin, and those whose declaration is gone are disabled. Safe in many processes at once.

    ``is_trial``: the caller will roll it back, and the log says so.
    """
    created = changed = 0
    seen = set()
    for key, task, declared, problem in judged():
        backend = task.get_backend()
        if getattr(backend, "broker", None) is None or backend.broker.database != database:  # type: ignore[attr-defined]
            continue
        seen.add(key)
        if problem:
            logger.error("The schedule %r of %s in code is wrong: %s", key, task.module_path, problem)
            continue
        try:
            with own_transaction(database), transaction.atomic(using=database):
                made, is_new = _sync_one(key, task, declared, database)
        except IntegrityError:  # another process was faster
            continue
        created, changed = created + is_new, changed + (made and not is_new)
    return Synced(created, changed, _disable_others(seen, database, "would be" if is_trial else "is"))


def _disable_others(declared_now: Collection[str], database: str, verb: str) -> int:
    """All at once, because a project may have thousands."""
    rows = Schedule.objects.using(database)
    gone = rows.exclude(declared_as="").exclude(declared_as__in=declared_now).filter(enabled=True)
    names = dict(gone.values_list("pk", "name"))
    if names:
        with own_transaction(database):
            rows.filter(pk__in=list(names)).update(
                **SWITCHED_OFF, disabled_reason=REMOVED, edited_at=DatabaseNow(), version=F("version") + 1
            )
    for name in names.values():
        logger.warning("Schedule %r %s disabled: %s", name, verb, REMOVED)
    return len(names)


def restore(database: str) -> int:
    """Enable again what a beat with older code has disabled, in a deploy, though this code declares it."""
    disabled = Schedule.objects.using(database).filter(disabled_reason=REMOVED)
    keys = set(disabled.values_list("declared_as", flat=True))
    if not keys:
        return 0
    ours = [(key, task, declared) for key, task, declared, problem in judged() if key in keys and not problem]
    with own_transaction(database):
        return sum(_sync_one(key, task, declared, database)[0] for key, task, declared in ours)


def row_values(task: Task[..., Any], declared: DeclaredSchedule) -> dict[str, Any]:
    """The fields of the row, but for ``name`` and ``enabled``. Raises ArgumentError for arguments that do not fit."""
    check_arguments(task, declared.args, declared.kwargs)
    args, kwargs = stored_call(list(declared.args), declared.kwargs, task)
    same = DeclaredSchedule.__dataclass_fields__.keys() - NOT_COPIED
    return {name: getattr(declared, name) for name in same} | {
        "task_path": task.module_path,
        "args": args,
        "kwargs": kwargs,
        "timezone": declared.zone_name,
        "start_at": as_orm_has(declared.start),
        "end_at": as_orm_has(declared.end),
    }


def differs(field: str, one: Any, other: Any) -> bool:
    """Arguments by their JSON, because to Python 1, 1.0 and true are equal."""
    if field in ("args", "kwargs"):
        return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)
    return bool(one != other)


def revert(schedule: Schedule, database: str) -> bool:
    """Make a row again what the code says. False: the code says nothing of it."""
    for key, task, declared in declarations():
        if key == schedule.declared_as:
            for name, value in row_values(task, declared).items():
                setattr(schedule, name, value)
            schedule.enabled, schedule.is_overridden = declared.enabled, False
            schedule.save(using=database)
            return True
    return False


def _sync_one(key: str, task: Task[..., Any], declared: DeclaredSchedule, database: str) -> tuple[bool, bool]:
    """Was the row written, and is it new?"""
    fields = row_values(task, declared)
    rows = Schedule.objects.using(database)
    row = rows.filter(declared_as=key).first()
    if row is None:
        # A row of this very key does not count: another process has made it meanwhile, and then ours must fail.
        taken = rows.filter(name=key[:200]).exclude(declared_as=key).exists()
        name = f"{key[:190]} (code)" if taken else key[:200]
        row = Schedule(name=name, declared_as=key, enabled=declared.enabled, **fields)
        row.save(using=database, force_insert=True)
        return True, True
    came_back = row.disabled_reason == REMOVED
    if came_back:
        row.enabled = declared.enabled
    changes = {} if row.is_overridden else {n: v for n, v in fields.items() if differs(n, getattr(row, n), v)}
    if not changes and not came_back:
        return False, False
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(using=database)
    return True, False

"""From a schedule's row to a job."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson
from django.db import transaction

from .. import codec, compat
from ..backend import TaskqBackend
from ..brokers import Broker
from ..client import ask_receivers, make_job, send
from ..exceptions import (
    ArgumentError,
    BrokenSchedule,
    ConfigurationError,
    Discard,
    PayloadError,
    TaskNotFound,
    as_text,
    one_line,
)
from ..handles import record_veto
from ..jobs import Job
from ..models import Schedule, ScheduleRun
from ..models.moments import as_orm_has, database_now
from ..registry import registry
from ..tasks import Task


@dataclass(frozen=True, slots=True)
class Firing:
    """A job that is about to be enqueued for a slot."""

    schedule: Schedule
    slot: datetime
    task: Task[..., Any]
    job: Job
    broker: Broker
    veto: str | None = None  # why a receiver of before_enqueue does not let it through


def task_of(schedule: Schedule) -> tuple[Task[..., Any], TaskqBackend]:
    """The task as this schedule wants it, and its backend. Raises BrokenSchedule."""
    try:
        task = registry.find(schedule.task_path)
        asked = {"queue_name": schedule.queue_name, "backend": schedule.backend, "priority": schedule.priority}
        changes: dict[str, Any] = {name: value for name, value in asked.items() if value not in {"", None}}
        task = task.using(**changes) if changes else task
        backend: Any = task.get_backend()
    except (TaskNotFound, compat.InvalidTask, compat.InvalidTaskBackend, ConfigurationError) as error:
        raise BrokenSchedule(one_line(error)) from error
    except BaseException as error:  # raised by the task's module: it must not end the beat
        raise BrokenSchedule(f"The module of its task cannot be imported: {_told(error)}") from error
    if not isinstance(backend, TaskqBackend):
        raise BrokenSchedule(f"TASKS[{task.backend!r}] is not a backend of taskq_django.")
    return task, backend


def call_of(schedule: Schedule) -> tuple[list[Any], dict[str, Any]]:
    """The stored arguments as the task gets them. Raises BrokenSchedule."""
    try:
        # By json, because orjson writes null for a number that no float can hold.
        return codec.decode_call(json.dumps([schedule.args, schedule.kwargs], allow_nan=False))
    except (PayloadError, TypeError, ValueError, RecursionError) as error:
        raise BrokenSchedule(f"Its arguments cannot be read: {error}") from error


def stored_call(args: list[Any], kwargs: Mapping[str, Any], task: Task[..., Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments as a schedule's row keeps them: the opposite of ``call_of``. Raises ArgumentError."""
    function = task.func if task.native else None
    text = codec.encode_call(args, kwargs, function=function, takes_context=task.takes_context)
    stored_args, stored_kwargs = orjson.loads(text)
    return stored_args, stored_kwargs


def firing_of(schedule: Schedule, slot: datetime, database: str, *, by_hand: bool = False) -> Firing:
    """The job of this slot, checked in full; nothing is written, and no receiver is asked. Raises BrokenSchedule."""
    task, backend = task_of(schedule)
    try:
        job = make_job(task, call_of(schedule), backend.broker.alias, backend.taskq_options)
    except (ArgumentError, TypeError, ValueError, ConfigurationError) as error:
        raise BrokenSchedule(one_line(error)) from error
    if backend.broker.database != database:
        raise BrokenSchedule(
            f"TASKS[{task.backend!r}] keeps its jobs in DATABASES[{backend.broker.database!r}], "
            f"and this schedule is in {database!r}: they must be in one transaction."
        )
    told = {"id": schedule.pk, "name": schedule.name, "slot": slot.isoformat(), "timezone": schedule.timezone}
    headers = {**(orjson.loads(job.headers) if job.headers else {}), "schedule": told}
    changes: dict[str, Any] = {"headers": orjson.dumps(headers).decode()}
    if schedule.jitter and not by_hand:
        changes["delay_us"] = int(random.uniform(0, schedule.jitter) * 1e6)  # noqa: S311 - jitter
    if schedule.expires is not None:
        changes["expires_us"] = schedule.expires * 1_000_000
    return Firing(schedule, slot, task, job._replace(**changes), backend.broker)


def let_through(firing: Firing) -> Firing:
    """What the receivers of before_enqueue make of it. Raises BrokenSchedule."""
    try:
        return replace(firing, job=ask_receivers(firing.task, firing.job))
    except Discard as veto:
        return replace(firing, veto=veto.reason)
    except BaseException as error:  # SystemExit and the like would end the beat, again and again
        raise BrokenSchedule(f"A receiver of before_enqueue failed: {_told(error)}") from error


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {as_text(error)}"


def run_now(schedule: Schedule, database: str) -> Firing:
    """Enqueue its job once more, beside its slots, unless a receiver vetoes it. Raises BrokenSchedule."""
    now = database_now(database)
    firing = let_through(firing_of(schedule, now, database, by_hand=True))
    with transaction.atomic(using=database):
        enqueue_firings([firing], now, database, by_hand=True)
    return firing


def enqueue_firings(firings: Sequence[Firing], now: datetime, database: str, *, by_hand: bool = False) -> None:
    """Enqueue the jobs, or write down why not, and that their slots have had their turn."""
    for firing in firings:
        if firing.veto is not None:
            record_veto(firing.task, firing.job, firing.veto, firing.broker)
    for broker in {firing.broker.alias: firing.broker for firing in firings}.values():
        if asked := [(f.task, f.job) for f in firings if f.broker is broker and f.veto is None]:
            send(asked, broker, in_store=True)
    moment = as_orm_has(now)
    ScheduleRun.objects.using(database).bulk_create(
        ScheduleRun(schedule=f.schedule, slot=as_orm_has(f.slot), job_id=f.job.id, enqueued_at=moment, by_hand=by_hand)
        for f in firings
    )

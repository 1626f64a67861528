"""Brings the time of what waits nearer, fires schedules at a moment, and loses the process of a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db.models import F, Max

from ..backend import brokers_of, databases_of, our_backends
from ..beat import declared
from ..beat.adopting import adopt
from ..beat.ticker import Ticker
from ..brokers import Broker
from ..conf import taskq_settings
from ..exceptions import SpecError
from ..models import QueuedJob, Schedule
from ..models.moments import as_orm_has, aware, database_now
from ..registry import registry
from ..states import State
from ..worker.announcing import announce
from ..worker.rescue import Death, rescue
from .running import NAME

MOMENTS = ("available_at", "enqueued_at", "run_after", "expires_at")
LOST = "lost in a test"  # the process that is as dead
# As a beat that looks each minute: what came since is due.
WINDOW = timedelta(minutes=1)
MANY = 100_000  # rows, more than a test has

Chooser = Callable[[str, str], bool]  # of a schedule's name and the path of its task


def our_databases() -> list[str]:
    """None where no backend is ours, as with Django's Dummy."""
    aliases = our_backends()
    return databases_of(brokers_of(aliases).values()) if aliases else []


def clock() -> datetime:
    """Aware, and of the first of those databases."""
    return database_now(databases_of(brokers_of(our_backends()).values())[0])


def age_what_waits(by: timedelta) -> None:
    """Every job that waits was enqueued so much earlier, and is due and expires so much sooner.

    The clock of a database cannot be set, so that what is stored moves.
    """
    waiting = {"status__in": [State.SCHEDULED, State.READY]}
    for database in our_databases():
        QueuedJob.objects.using(database).filter(**waiting).update(**{name: F(name) - by for name in MOMENTS})


def fire(at: datetime, is_meant: Chooser) -> tuple[list[str], list[str]]:
    """Fire the slots of the minute that ends at ``at``, as a beat does.

    Returns the names of all that are meant, and why those of them cannot be fired that cannot.
    """
    registry.discover()
    wrong = [(key, task.module_path, problem) for key, task, _, problem in declared.judged() if problem]
    problems = [f"{key}: {problem}" for key, path, problem in wrong if is_meant(key, path)]
    names = []
    for database in our_databases():
        declared.sync(database)
        adopt(database, MANY)
        rows = list(Schedule.objects.using(database).filter(enabled=True))
        meant = [row for row in rows if is_meant(row.name, row.task_path)]
        for row in rows:
            _plan(row, _last_turn(row, at) if row in meant else at, database)
        ticker = Ticker(database, taskq_settings().beat)
        while ticker.tick(at).schedules:
            pass
        found = Schedule.objects.using(database).filter(pk__in=[row.pk for row in meant])
        problems += [f"{name}: {why}" for name, why in found.exclude(broken="").values_list("name", "broken")]
        names += [row.name for row in meant]
    return names, problems


def _last_turn(row: Schedule, at: datetime) -> datetime:
    """A minute before, or the slot since then that this test has fired already."""
    since = at - WINDOW
    fired = row.runs.filter(by_hand=False, slot__gt=as_orm_has(since), slot__lte=as_orm_has(at))
    return aware(fired.aggregate(last=Max("slot"))["last"]) or since


def _plan(row: Schedule, since: datetime, database: str) -> None:
    """As one that has had its turn whenever it was due until then."""
    try:
        row.plan_from(since)
    except SpecError as error:
        row.broken = str(error)
    fields = {name: getattr(row, name) for name in ("next_run_at", "is_finished", "broken")}
    Schedule.objects.using(database).filter(pk=row.pk).update(**fields, version=F("version") + 1)


def broker_of(alias: str) -> Broker:
    return brokers_of((alias,))[alias]


def lose(job_id: str, broker: Broker) -> bool:
    """Have a process claim and begin it and die, and another one come to its rescue. False: it cannot be claimed."""
    claim = broker.take(job_id, LOST)
    if claim is None:
        return False
    rescue(broker, LOST, Death(cause="signal SIGKILL", begun={job_id}), NAME, in_store=True, tell=announce)
    return True

"""What came of the runs of schedules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from ...models import JobResult, Schedule, ScheduleRun
from ...models.moments import aware
from ...states import State
from ...store.stories import read_stories
from .. import display
from .clocks import Clocks, clocks_of, readers_clocks

SHOWN = 20


def _runs() -> QuerySet[ScheduleRun]:
    """Of a schedule, the newest first."""
    return ScheduleRun.objects.filter(schedule=OuterRef("pk")).order_by("-slot")


def failing(schedules: QuerySet[Schedule]) -> QuerySet[Schedule]:
    """Those whose last run has failed.

    By values and not by joins, so that a database goes from each schedule by two indexes to its result: it may look
    at every result there is otherwise.
    """
    status = JobResult.objects.filter(pk=OuterRef("last_job")).values("status")
    last = schedules.alias(last_job=Subquery(_runs().values("job_id")[:1]))
    return last.alias(last_status=Subquery(status[:1])).filter(last_status=State.FAILED)


def last_runs(keys: Collection[int], using: str) -> dict[int, tuple[UUID | None, Any]]:
    """By the key of a schedule, the id of the job that it has made last, and the slot of that.

    Asked for the rows of one page, because a database answers a subquery for each row that the page passes over, too.
    """
    runs = _runs()
    rows = Schedule.objects.using(using).filter(pk__in=keys)
    rows = rows.annotate(last_job=Subquery(runs.values("job_id")[:1]), last_slot=Subquery(runs.values("slot")[:1]))
    return {key: (job, slot) for key, job, slot in rows.values_list("pk", "last_job", "last_slot")}


@dataclass(frozen=True, slots=True)
class PastRuns:
    """The last runs, the newest first. Each tells as ``due`` and ``yours`` when it was due, by the clocks of the
    schedule and the reader's, and as ``late``, ``badge`` and ``took`` what came of its job.
    """

    rows: list[Any]
    clocks: Clocks
    yours: Clocks
    zones_differ: bool


def past_runs(schedule: Schedule, using: str) -> PastRuns:
    runs: list[Any] = list(ScheduleRun.objects.using(using).filter(schedule=schedule).order_by("-slot")[:SHOWN])
    stories = read_stories([str(run.job_id) for run in runs], using)
    clocks, yours = clocks_of(schedule.kind, schedule.timezone), readers_clocks()
    for run in runs:
        story = stories.get(str(run.job_id))
        run.due, run.yours = (f"{each.shows(aware(run.slot)):%Y-%m-%d %H:%M:%S}" for each in (clocks, yours))
        run.late = display.duration(run.slot, run.enqueued_at)
        run.badge = display.badge(story.status) if story else ""
        run.took = display.duration(story.last_attempted_at, story.finished_at) if story else "–"
    return PastRuns(runs, clocks, yours, not all(clocks.agree(yours, aware(run.slot)) for run in runs))

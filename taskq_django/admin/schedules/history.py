"""What came of the runs of schedules."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from ...models import Schedule, ScheduleRun
from ...store.stories import read_stories
from .. import display

SHOWN = 20


def with_last_run(rows: QuerySet[Schedule]) -> QuerySet[Schedule]:
    """``last_job`` is the id of the job that a row has made last."""
    runs = ScheduleRun.objects.filter(schedule=OuterRef("pk")).order_by("-slot")
    return rows.annotate(last_job=Subquery(runs.values("job_id")[:1]), last_slot=Subquery(runs.values("slot")[:1]))


def past_runs(schedule: Schedule, using: str) -> list[Any]:
    """The last runs, the newest first; each tells as ``late``, ``badge`` and ``took`` what came of its job."""
    runs: list[Any] = list(ScheduleRun.objects.using(using).filter(schedule=schedule).order_by("-slot")[:SHOWN])
    stories = read_stories([str(run.job_id) for run in runs], using)
    for run in runs:
        story = stories.get(str(run.job_id))
        run.late = display.duration(run.slot, run.enqueued_at)
        run.badge = display.badge(story.status) if story else ""
        run.took = display.duration(story.last_attempted_at, story.finished_at) if story else "–"
    return runs

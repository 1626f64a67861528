"""Reads a job by id, whichever table it is in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, IntegerField, TextField, Value
from django.db.models.functions import Coalesce

from ..models.job_attempt import JobAttempt
from ..models.job_result import JobResult
from ..models.queued_job import QueuedJob
from ..states import FINAL, State

# The last attempt of a job in these states has not failed: it still runs, or was the one that succeeded.
WITHOUT_FAILURE = frozenset({State.RUNNING.value, State.SUCCESSFUL.value})


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that ended in an exception: a row of ``JobAttempt``."""

    number: int
    worker_id: str
    started_at: datetime
    finished_at: datetime
    exception_class: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is stored of one job, live or ended. Datetimes are as Django's ORM gives them."""

    id: str
    task_path: str
    backend: str
    queue_name: str
    status: str
    enqueued_at: datetime
    run_after: datetime | None
    payload: str = field(repr=False)
    headers: str = field(repr=False)
    attempts: int
    worker_id: str | None
    priority: int
    started_at: datetime | None
    last_attempted_at: datetime | None
    finished_at: datetime | None
    return_value: str | None = field(repr=False)
    exception_class: str
    message: str
    failures: tuple[FailedAttempt, ...] = ()

    @property
    def worker_ids(self) -> list[str]:
        """One id per attempt; an attempt that was cut off by a stop is put down to the last worker."""
        by_number = {failure.number: failure.worker_id for failure in self.failures}
        return [by_number.get(number) or self.worker_id or "" for number in range(1, self.attempts + 1)]


# The columns of a result, and those of them that a live job has too.
_COLUMNS = [each.name for each in fields(Story) if each.name != "failures"]
_COMMON = _COLUMNS[: _COLUMNS.index("priority")]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the state of a job is, and no text of it."""

    status: str
    attempts: int
    enqueued_at: datetime


def read_standings(ids: Iterable[str], using: str) -> dict[str, Standing]:
    """As ``read_stories``, for many jobs that may be large: no text is read."""
    keys = [UUID(id_) for id_ in ids]
    live, ended = (
        model._default_manager.using(using)
        .filter(id__in=keys)
        .order_by()
        .values_list("id", "status", "attempts", "enqueued_at")
        for model in (QueuedJob, JobResult)
    )
    return {str(id_): Standing(*rest) for id_, *rest in _newest_last(live.union(ended, all=True), 1, 2)}


def read_stories(ids: Iterable[str], using: str) -> dict[str, Story]:
    """The jobs with these ids (UUID text); an id that is not there is not in the answer.

    One statement over both tables: between two, a job could move from the one to the other and be in neither.
    """
    keys = [UUID(id_) for id_ in ids]
    nothing = Value(None, output_field=TextField())
    live = (
        QueuedJob.objects.using(using)
        .filter(id__in=keys)
        .order_by()
        .values_list(
            *_COMMON,
            Value(0, output_field=IntegerField()) - F("rank"),
            Coalesce("started_at", "claimed_at"),
            "claimed_at",
            Value(None, output_field=QueuedJob._meta.get_field("claimed_at").__class__()),
            nothing,
            Value(""),
            Value(""),
        )
    )
    ended = JobResult.objects.using(using).filter(id__in=keys).order_by().values_list(*_COLUMNS)
    stories: dict[str, Story] = {}
    for row in _newest_last(live.union(ended, all=True), _COMMON.index("status"), _COMMON.index("attempts")):
        stories[str(row[0])] = Story(str(row[0]), *row[1:])
    several = [id_ for id_, story in stories.items() if story.attempts > (story.status in WITHOUT_FAILURE)]
    if several:
        for id_, failures in _failures(several, using).items():
            story = stories[id_]
            stories[id_] = replace(story, failures=tuple(f for f in failures if f.number <= story.attempts))
    return stories


def _newest_last(rows: Iterable[Any], status: int, attempts: int) -> list[Any]:
    """An id may be in both tables, by another hand: then a live row has more attempts, or its job has ended."""
    return sorted(rows, key=lambda row: (row[attempts], row[status] in FINAL))


def _failures(ids: Sequence[str], using: str) -> dict[str, list[FailedAttempt]]:
    rows = JobAttempt.objects.using(using).filter(job_id__in=ids).order_by("number")
    failures: dict[str, list[FailedAttempt]] = {}
    rest: Any
    for job_id, *rest in rows.values_list("job_id", *[each.name for each in fields(FailedAttempt)]):
        failures.setdefault(str(job_id), []).append(FailedAttempt(*rest))
    return failures

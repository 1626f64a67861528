"""The story of a job, step by step: when it was enqueued, each attempt, what comes next, how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _t

from ..models import QueuedJob
from ..models.moments import aware
from ..registry import registry
from ..states import FINAL, State
from ..store.stories import FailedAttempt, Story
from . import display
from .masking import without_passwords
from .tracebacks import Part, parts_of

SHOWN = 20  # failed attempts, with their tracebacks; a job may have a thousand


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    kind: str  # a class of the style sheet
    moment: SafeString | str = ""
    exactly: str = ""
    took: str = ""
    worker: str = ""
    name: str = ""  # of the exception
    message: str = ""
    traceback: list[Part] | None = None


def steps(story: Story, waiting: dict[str, Any], *, is_open: bool) -> Iterator[Step]:
    """``waiting``: of a live row, what no story has. ``is_open``: may messages and tracebacks be shown?"""
    yield _step(_t("Enqueued"), "ready", story.enqueued_at)
    is_first_wait = bool(waiting) and not story.attempts
    if story.run_after and aware(story.run_after) > aware(story.enqueued_at) and not is_first_wait:
        yield _step(_t("Due"), "scheduled", story.run_after)
    failures = story.failures[-SHOWN:]
    for failure in failures:
        yield failed_step(failure, is_open=is_open)
    numbers = {"number": story.attempts}
    if story.status == State.RUNNING:
        title, took = _t("Attempt %(number)d runs") % numbers, display.duration(story.last_attempted_at, timezone.now())
        yield _step(title, "running", story.last_attempted_at, took, story.worker_id)
    elif story.status == State.SUCCESSFUL:
        took = display.duration(story.last_attempted_at, story.finished_at)
        title = _t("Attempt %(number)d succeeded") % numbers
        yield _step(title, "successful", story.last_attempted_at, took, story.worker_id)
    elif story.status in FINAL:
        yield _step(display.state_label(story.status), story.status.lower(), story.finished_at)
    elif waiting:
        yield _next(story, waiting)


def _next(story: Story, waiting: dict[str, Any]) -> Step:
    """``Retry 2 of 4``, or that it waits."""
    due = waiting["available_at"]
    if not story.attempts:
        title = _t("Due") if story.status == State.SCHEDULED else _t("Ready")
        return _step(title, story.status.lower(), due)
    task = registry.seek(story.task_path)
    most = task.attempts_allowed - 1 if task is not None else 0
    numbers = {"number": waiting["tries"], "most": most}
    is_retry = 0 < waiting["tries"] <= most
    title = _t("Retry %(number)d of %(most)d") % numbers if is_retry else _t("Attempt %d") % (story.attempts + 1)
    return _step(title, story.status.lower(), due)


def failed_step(failure: FailedAttempt, *, is_open: bool) -> Step:
    return _step(
        _t("Attempt %d failed") % failure.number,
        "failed",
        failure.started_at,
        display.duration(failure.started_at, failure.finished_at),
        failure.worker_id,
        name=failure.exception_class,
        message=display.cut(without_passwords(failure.message), display.LONGEST) if is_open else "",
        traceback=folded(failure.traceback) if is_open and failure.traceback.strip() else None,
    )


def folded(traceback: str) -> list[Part]:
    return parts_of(display.cut_middle(without_passwords(traceback)))


def waiting_of(id_: str, database: str) -> dict[str, Any]:
    """What its row says of a job that waits; nothing where it has none."""
    rows = QueuedJob.objects.using(database).filter(id=id_)
    return dict(rows.values("available_at", "tries").first() or {})


def _step(title: str, kind: str, moment: datetime | None, took: str = "", worker: str | None = "", **more: Any) -> Step:
    exactly = display.moment(moment) if moment else ""
    return Step(title, kind, display.when(moment), exactly, took, worker or "", **more)

"""What is sent: an event of each job that fails for good, and what became of each slot of a schedule."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

import sentry_sdk
from django.utils.text import slugify
from sentry_sdk.crons import capture_checkin
from sentry_sdk.crons.consts import MonitorStatus

from ...backend import brokers_of
from ...exceptions import WorkerLost
from ...jobs import Claim, Failed, Outcome, Retried, Succeeded, headers_of
from ...models import Schedule
from ...registry import registry
from ...schedules.interval import read_interval

logger = logging.getLogger(__name__)

FILTERED = "[Filtered]"
MASKS = "sensitive_variables_wrapper"  # it has the arguments
# So receivers call what has them too: Sentry takes a named tuple apart.
CARRIERS = frozenset({"claim", "job", "jobs", "outcome", "outcomes", "given", "kwargs", "named"})
FLUSHED_WITHIN = 2.0  # seconds
LONGEST_SLUG = 50  # characters; of Sentry


def capture(sender: Any, claim: Claim, outcome: Failed, exception: BaseException, **given: Any) -> None:
    """A receiver of ``run_failed``: a try that is followed by another one is no event."""
    job, task = claim.job, registry.get(claim.job.task_path)
    secrets = frozenset(task.sensitive) if task is not None else frozenset()
    with sentry_sdk.new_scope() as scope:
        for tag, value in (("task", job.task_path), ("queue", job.queue_name), ("backend", job.backend)):
            scope.set_tag(f"taskq.{tag}", value)
        scope.set_context("job", {"id": job.id, "attempt": claim.attempt, "waited": claim.waited})
        if isinstance(exception, WorkerLost):  # without a traceback, by which Sentry would tell two tasks apart
            scope.fingerprint = ["taskq-worker-lost", job.task_path]
        scope.set_transaction_name(job.task_path, source="task")
        scope.add_event_processor(lambda event, hint: _without(secrets, event))
        scope.capture_exception(exception)


def _without(secrets: frozenset[str], event: Any) -> Any:
    """The values of these variables are in no frame of it, nor is Django's own frame that masks them."""
    for error in event.get("exception", {}).get("values", ()) if secrets else ():
        stack = error.get("stacktrace") or {}
        stack["frames"] = [each for each in stack.get("frames", ()) if each.get("function") != MASKS]
        for frame in stack["frames"]:
            variables = frame.get("vars") or {}
            variables.update(dict.fromkeys((secrets | CARRIERS) & variables.keys(), FILTERED))
    return event


def without_secrets(event: Any, hint: Any) -> Any:
    """What our own loggers tell of, as of a receiver that has failed, has the task's exception as its context."""
    if str(event.get("logger", "")).startswith("taskq_django"):
        return _without(frozenset(name for task in registry.all() for name in task.sensitive), event)
    return event


def flush(**given: Any) -> None:
    """A receiver of ``worker_stopping``: the process ends at once, and with it the SDK's own thread."""
    sentry_sdk.flush(FLUSHED_WITHIN)


def check_in(claim: Claim, **given: Any) -> None:
    """A receiver of ``before_run``: the job of a slot begins. It begins too where nobody could be told."""
    try:
        if (slot := _slot_of(claim)) is not None:
            _tell(claim, slot, MonitorStatus.IN_PROGRESS, config=_monitor_of(slot, claim.job.backend))
    except Exception:  # the store is away, or the headers are by another hand
        logger.exception("Sentry could not be told that job %s begins", claim.job.id)


def check_out(claim: Claim, outcome: Outcome, **given: Any) -> None:
    """A receiver of ``after_run``. While it is tried again it goes on."""
    if isinstance(outcome, Retried) or (slot := _slot_of(claim)) is None:
        return
    status = MonitorStatus.OK if isinstance(outcome, Succeeded) else MonitorStatus.ERROR
    _tell(claim, slot, status, duration=outcome.ended - outcome.started)  # type: ignore[union-attr]


def _tell(claim: Claim, slot: dict[str, Any], status: str, *, duration: Any = None, config: Any = None) -> None:
    slug = f"taskq-{slot['id']}-{slugify(str(slot['name']))}"[:LONGEST_SLUG].rstrip("-")
    id_ = UUID(claim.job.id).hex  # by it Sentry finds what is told of one slot, whichever process tells it
    capture_checkin(monitor_slug=slug, check_in_id=id_, status=status, duration=duration, monitor_config=config)


def _slot_of(claim: Claim) -> dict[str, Any] | None:
    if '"schedule"' not in claim.job.headers:
        return None
    slot = (headers_of(claim.job.headers) or {}).get("schedule")
    return slot if isinstance(slot, dict) and {"id", "name"} <= slot.keys() else None


def _monitor_of(slot: dict[str, Any], alias: str) -> dict[str, Any] | None:
    """What Sentry has to expect; None where it has no word for it."""
    schedule = Schedule.objects.using(brokers_of((alias,))[alias].database).filter(pk=slot["id"]).first()
    if schedule is None:
        return None
    if schedule.kind == "cron" and len(schedule.spec.split()) == 5:
        return {"schedule": {"type": "crontab", "value": schedule.spec}, "timezone": schedule.timezone}
    if schedule.kind == "interval":
        minutes, rest = divmod(read_interval(schedule.spec), 60)
        return None if rest else {"schedule": {"type": "interval", "value": minutes, "unit": "minute"}}
    return None

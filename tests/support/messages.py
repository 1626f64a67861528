"""Messages that a process holds, and what came of them, for tests of the store."""

from __future__ import annotations

from time import monotonic
from typing import Any

from taskq_django.jobs import Claim, Failed, Job, Outcome, Retried, Succeeded
from taskq_django.models import WorkerProcess
from taskq_django.models.moments import DatabaseNow
from tests.support.sending import FAILURE, job

HOLDER, AUTHOR = "host/holder", "host/author"
ENQUEUED = 1_700_000_000.25


def register(id_: str) -> None:
    now = DatabaseNow()
    WorkerProcess.objects.create(id=id_, name="w", host="h", pid=1, started_at=now, seen_at=now)


def message(**changes: Any) -> Claim:
    """A message that is claimed."""
    sent: Job = job(attempts=1, enqueued_at=ENQUEUED, **changes)
    return Claim(sent, f"@{HOLDER}", 0.0)


def success(claim: Claim, value: str | None = "1") -> Outcome:
    return Succeeded(claim, monotonic() - 2, monotonic() - 1, value)


def failure(claim: Claim) -> Outcome:
    return Failed(claim, monotonic() - 2, monotonic() - 1, FAILURE)


def retry(claim: Claim, delay: float = 0.0, **more: Any) -> Outcome:
    return Retried(claim, monotonic() - 2, monotonic() - 1, FAILURE, delay, **more)

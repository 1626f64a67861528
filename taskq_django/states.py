"""The states of a job. Live ones are rows of QueuedJob, final ones rows of JobResult."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class State(TextChoices):
    """Where a job stands. ``result.status`` folds these seven into the four of ``django.tasks``."""

    SCHEDULED = "SCHEDULED", _("Scheduled")  # its time has not come
    READY = "READY", _("Ready")  # waits for a worker
    RUNNING = "RUNNING", _("Running")  # a worker process holds it
    SUCCESSFUL = "SUCCESSFUL", _("Successful")
    FAILED = "FAILED", _("Failed")
    CANCELLED = "CANCELLED", _("Cancelled")  # by a user, or discarded by the task or a receiver
    EXPIRED = "EXPIRED", _("Expired")  # not started in time

    @property
    def is_final(self) -> bool:
        return self in FINAL


WAITING = (State.SCHEDULED, State.READY)
LIVE = (*WAITING, State.RUNNING)
FINAL = (State.SUCCESSFUL, State.FAILED, State.CANCELLED, State.EXPIRED)

# What django.tasks calls each state: its API knows four words only.
FRAMEWORK_STATUS: dict[str, str] = {
    State.SCHEDULED: "READY",
    State.READY: "READY",
    State.RUNNING: "RUNNING",
    State.SUCCESSFUL: "SUCCESSFUL",
    State.FAILED: "FAILED",
    State.CANCELLED: "FAILED",
    State.EXPIRED: "FAILED",
}

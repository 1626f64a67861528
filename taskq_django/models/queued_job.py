"""The hot table: jobs that are scheduled, ready or running."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..jobs import new_id
from ..states import LIVE, State
from .indexes import StatusIndex
from .moments import MomentField


class QueuedJob(models.Model):
    """A live job. It leaves for JobResult in the transaction that ends it, so this table stays small.

    Written by ``brokers.database`` and ``control`` only, for the most part by the statements of ``store.dialects``.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    task_path = models.CharField(_("task"), max_length=255)
    backend = models.CharField(_("backend"), max_length=64, help_text=_("Alias in TASKS."))
    queue_name = models.CharField(_("queue"), max_length=64)
    status = models.CharField(_("status"), max_length=10, choices=[(s.value, s.label) for s in LIVE])
    rank = models.SmallIntegerField(_("rank"), help_text=_("Minus the priority, so that one index is in claim order."))
    # When it joined (or, while SCHEDULED, will join) the ready order, by the database's clock.
    available_at = MomentField(_("available at"))
    enqueued_at = MomentField(_("enqueued at"))
    run_after = MomentField(_("run after"), null=True, blank=True)
    expires_at = MomentField(_("expires at"), null=True, blank=True)
    payload = models.TextField(_("arguments"))
    headers = models.TextField(_("headers"), blank=True, default="")
    tries = models.IntegerField(_("tries"), default=0)  # counted against max_attempts
    attempts = models.IntegerField(_("attempts"), default=0)  # starts, whatever came of them
    crashes = models.IntegerField(_("crashes"), default=0)  # processes lost while running it
    losses = models.IntegerField(_("losses"), default=0, db_default=0)  # hosts lost while holding it
    # Written at each claim. Later writes of the worker ask for it, so a worker that lost its claim changes nothing.
    token = models.UUIDField(null=True, blank=True, editable=False)
    # The publish that it stands in for: its message is, or may be, in an engine. No claim touches it.
    sender = models.UUIDField(null=True, blank=True, editable=False)
    worker_id = models.CharField(_("worker"), max_length=128, null=True, blank=True)
    started_at = MomentField(_("first started at"), null=True, blank=True)
    claimed_at = MomentField(_("claimed at"), null=True, blank=True)
    # Of this claim, and only of tasks with rerun_on_crash=False: written before the first line runs.
    begun_at = MomentField(_("begun at"), null=True, blank=True)
    cancel_requested_at = MomentField(_("cancel requested at"), null=True, blank=True)

    class Meta:
        verbose_name = _("queued job")
        verbose_name_plural = _("queued jobs")
        default_permissions = ("view",)
        indexes = [
            # The claim order within a queue.
            StatusIndex(
                "backend", "queue_name", "rank", "available_at", "id", status="READY", name="taskq_queued_claim"
            ),
            # Finds the scheduled jobs that are due; the queue is for who counts them.
            StatusIndex("backend", "available_at", "queue_name", status="SCHEDULED", name="taskq_queued_due"),
            # What a worker holds.
            StatusIndex("worker_id", status="RUNNING", name="taskq_queued_running"),
        ]

    def __str__(self) -> str:
        return f"{self.task_path}[{self.id}]"

    @property
    def state(self) -> State:
        return State(self.status)

    @property
    def priority(self) -> int:
        return -self.rank

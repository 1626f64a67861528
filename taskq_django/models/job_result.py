"""The history: what became of each job."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..jobs import new_id
from ..states import FINAL, State
from .moments import MomentField


class JobResult(models.Model):
    """A job that has ended. Replaced by a result of more attempts; removed by a retry or by pruning."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    task_path = models.CharField(_("task"), max_length=255)
    backend = models.CharField(_("backend"), max_length=64)
    queue_name = models.CharField(_("queue"), max_length=64)
    priority = models.SmallIntegerField(_("priority"))
    status = models.CharField(_("status"), max_length=10, choices=[(s.value, s.label) for s in FINAL])
    enqueued_at = MomentField(_("enqueued at"))
    run_after = MomentField(_("run after"), null=True, blank=True)
    started_at = MomentField(_("started at"), null=True, blank=True, help_text=_("Its first attempt."))
    last_attempted_at = MomentField(_("last attempted at"), null=True, blank=True)
    finished_at = MomentField(_("finished at"))
    payload = models.TextField(_("arguments"))
    headers = models.TextField(_("headers"), blank=True, default="")
    tries = models.IntegerField(_("tries"), default=0)
    attempts = models.IntegerField(_("attempts"), default=0)
    crashes = models.IntegerField(_("crashes"), default=0)
    worker_id = models.CharField(_("worker"), max_length=128, null=True, blank=True)
    return_value = models.TextField(_("return value"), null=True, blank=True)  # the codec's JSON text
    exception_class = models.CharField(_("exception"), max_length=255, blank=True, default="")
    message = models.TextField(_("message"), blank=True, default="")

    class Meta:
        verbose_name = _("result")
        verbose_name_plural = _("results")
        default_permissions = ("view", "delete")
        permissions = [
            ("view_payload", "Can see arguments, results and errors of jobs"),
            ("retry_job", "Can retry jobs"),
            ("cancel_job", "Can cancel jobs"),
            ("reschedule_job", "Can reschedule jobs"),
        ]
        indexes = [
            # For the admin's filters, which show the newest first, and for pruning. Both go by the id, because it
            # begins with the time of the enqueue; so there is no index of the time of the end.
            models.Index(fields=["status", "id"], name="taskq_result_status"),
            models.Index(fields=["task_path", "id"], name="taskq_result_task"),
        ]

    def __str__(self) -> str:
        return f"{self.task_path}[{self.id}]"

    @property
    def state(self) -> State:
        return State(self.status)

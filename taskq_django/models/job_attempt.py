"""Attempts that did not succeed: who tried, when, and what went wrong."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .moments import MomentField


class JobAttempt(models.Model):
    """One start of a job that ended in an exception.

    No foreign key: while the job waits for its retry its row is in QueuedJob, afterwards in JobResult.
    """

    id = models.BigAutoField(primary_key=True)
    job_id = models.UUIDField(_("job"))
    number = models.IntegerField(_("number"))  # 1 for the first start
    worker_id = models.CharField(_("worker"), max_length=128)
    started_at = MomentField(_("started at"))
    finished_at = MomentField(_("finished at"))
    exception_class = models.CharField(_("exception"), max_length=255)
    message = models.TextField(_("message"))
    traceback = models.TextField(_("traceback"))

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["job_id", "number"], name="taskq_attempt_number")]

    def __str__(self) -> str:
        return f"{self.job_id} #{self.number}: {self.exception_class}"

"""What one worker process has counted."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .moments import MomentField


class JobCounts(models.Model):
    """How many runs of a minute, or of an hour, came to what, and how long jobs waited and ran.

    Only its process writes it, once a minute; when the span is over, rows of several become one. ``counts`` is for
    ``store.counts`` to read.
    """

    id = models.BigAutoField(primary_key=True)
    worker_id = models.CharField(_("worker"), max_length=128)
    seconds = models.IntegerField(_("seconds"))  # 60 or 3600
    begins_at = MomentField(_("begins at"))
    counts = models.TextField(_("counts"))

    class Meta:
        verbose_name = _("counts of jobs")
        verbose_name_plural = _("counts of jobs")
        default_permissions = ()
        constraints = [
            # Read, and pruned, by the first two.
            models.UniqueConstraint(fields=["seconds", "begins_at", "worker_id"], name="taskq_job_counts")
        ]

    def __str__(self) -> str:
        return f"{self.worker_id} {self.begins_at} {self.seconds}"

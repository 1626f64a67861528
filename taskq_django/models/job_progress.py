"""How far running jobs have said that they are."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..jobs import LONGEST_PROGRESS_TEXT
from .moments import MomentField


class JobProgress(models.Model):
    """The last thing that a job has said of its progress. Kept as long as its result.

    A table of its own, because it is written while the job runs: the row of the job stays as small as it was, and a job
    that says nothing costs nothing.
    """

    job_id = models.UUIDField(_("job"), primary_key=True)
    attempt = models.IntegerField(_("attempt"))  # that has said it; an earlier one is not heard any more
    done = models.FloatField(_("done"))
    total = models.FloatField(_("total"), null=True)
    text = models.CharField(_("text"), max_length=LONGEST_PROGRESS_TEXT)
    updated_at = MomentField(_("updated at"))

    class Meta:
        verbose_name = _("progress of a job")
        verbose_name_plural = _("progress of jobs")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.job_id}: {self.done:g}"

"""Wishes to cancel jobs that may be messages in an engine, where no row can be marked."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .moments import MomentField


class CancelWish(models.Model):
    """Somebody has asked to cancel this job. What ends the job removes the row in the same transaction."""

    job_id = models.UUIDField(_("job"), primary_key=True)
    backend = models.CharField(_("backend"), max_length=64)
    reason = models.TextField(_("reason"), blank=True, default="")
    asked_at = MomentField(_("asked at"))

    class Meta:
        verbose_name = _("wish to cancel")
        verbose_name_plural = _("wishes to cancel")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.job_id}"

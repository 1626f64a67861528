"""Queues that no worker may claim from."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .moments import MomentField


class PausedQueue(models.Model):
    """While this row exists, jobs of the queue wait. Maintenance of workers removes it once ``until`` is past."""

    id = models.BigAutoField(primary_key=True)
    backend = models.CharField(_("backend"), max_length=64)
    queue_name = models.CharField(_("queue"), max_length=64)
    paused_at = MomentField(_("paused at"), auto_now_add=True)
    reason = models.CharField(_("reason"), max_length=200, blank=True, default="", db_default="")
    until = MomentField(_("until"), null=True, blank=True, help_text=_("Empty: until it is resumed."))

    class Meta:
        verbose_name = _("paused queue")
        verbose_name_plural = _("paused queues")
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["backend", "queue_name"], name="taskq_paused_queue")]

    def __str__(self) -> str:
        return f"{self.backend}/{self.queue_name}"

"""What somebody has asked a worker to do."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .moments import MomentField


class Request(models.TextChoices):
    QUIET = "QUIET", _("Quiet")  # claim nothing more; what runs ends
    STOP = "STOP", _("Stop")  # as by a stop signal


class WorkerRequest(models.Model):
    """While this row exists, the worker does so: it reads it with each sign of life.

    A row of its own, because only the worker writes to its lease. An incarnation's id is never used again; pruning
    removes the rows of workers that are gone.
    """

    worker_id = models.CharField(_("worker"), primary_key=True, max_length=128)
    request = models.CharField(_("request"), max_length=10, choices=Request.choices)
    asked_at = MomentField(_("asked at"))

    class Meta:
        verbose_name = _("request to a worker")
        verbose_name_plural = _("requests to workers")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.worker_id}: {self.request}"

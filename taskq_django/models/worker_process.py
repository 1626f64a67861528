"""Who is working, and who is answerable for it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .moments import MomentField


class WorkerProcess(models.Model):
    """A supervisor or one of its processes; the row lives as long as the process does.

    Only the supervisor's row is a lease: it renews ``seen_at`` for all its processes, because a task that
    holds the GIL for minutes would stop its own process from doing so.
    """

    id = models.CharField(primary_key=True, max_length=128)  # an incarnation, never reused
    # Without a constraint in the database, because MariaDB could not change the character set of the table then.
    supervisor = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="children",
        db_constraint=False,
        verbose_name=_("supervisor"),
    )
    name = models.CharField(_("name"), max_length=100)
    host = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process id"))
    backends = models.CharField(_("backends"), max_length=255, blank=True)
    queues = models.CharField(_("queues"), max_length=1000, blank=True, help_text=_("Empty: all."))
    excluded = models.CharField(_("all queues but"), max_length=1000, blank=True, default="")
    # How many processes of a supervisor can run jobs. None: it has not said so yet.
    serving = models.IntegerField(_("serving"), null=True, blank=True)
    started_at = MomentField(_("started at"))
    seen_at = MomentField(_("seen at"))

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        default_permissions = ("view",)
        indexes = [models.Index(fields=["seen_at"], name="taskq_worker_seen")]

    def __str__(self) -> str:
        return self.id

"""Who is working, and who is answerable for it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .moments import MomentField


class WorkerState(models.TextChoices):
    """What a worker said of itself with its last sign of life."""

    SERVING = "SERVING", _("Serving")
    QUIET = "QUIET", _("Quiet")  # it claims nothing, because somebody has asked it to
    STOPPING = "STOPPING", _("Stopping")  # it finishes what runs


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
    # For people; of a supervisor, and empty where it has not said so. What may change is of its last sign of life.
    version = models.CharField(_("version"), max_length=40, blank=True, default="", db_default="")
    threads = models.IntegerField(_("threads"), null=True, blank=True, help_text=_("Sync jobs it runs at a time."))
    coroutines = models.IntegerField(_("coroutines"), null=True, blank=True, help_text=_("Async jobs at a time."))
    busy = models.IntegerField(_("busy"), null=True, blank=True, help_text=_("Jobs that run."))
    memory = models.IntegerField(_("memory"), null=True, blank=True, help_text=_("MiB of all its processes."))
    state = models.CharField(
        _("state"), max_length=10, choices=WorkerState.choices, blank=True, default="", db_default=""
    )

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        default_permissions = ("view",)
        permissions = [("control_worker", "Can quiet and stop worker")]
        indexes = [models.Index(fields=["seen_at"], name="taskq_worker_seen")]

    def __str__(self) -> str:
        return self.id

"""Pages of the admin that have no table: what its index lists and a permission belongs to must be a model.

They are proxies, because ``dumpdata`` would look for the table of any other model.
"""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from .paused_queue import PausedQueue
from .store_identity import StoreIdentity


class Dashboard(StoreIdentity):
    class Meta:
        proxy = True
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")
        default_permissions = ("view",)


class Queue(PausedQueue):
    class Meta:
        proxy = True
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        default_permissions = ("view",)
        permissions = [("control_queue", "Can pause and resume queue"), ("purge_queue", "Can purge queue")]


class RegisteredTask(StoreIdentity):
    class Meta:
        proxy = True
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        default_permissions = ("view",)
        permissions = [("enqueue_task", "Can enqueue task")]

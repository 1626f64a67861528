"""The app: a default for TASKS, the tasks modules, the checks."""

from __future__ import annotations

import sys

from asgiref.local import Local
from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

DEFAULT_TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend", "QUEUES": []}}

# Here and not in ready(), because tasks are built when their modules are imported, and models.py of another app may
# import one. This module is imported before the models of any app.
if not settings.is_overridden("TASKS"):  # type: ignore[misc]
    settings.TASKS = DEFAULT_TASKS
    for name in ("django.tasks", "django_tasks"):
        # An app before this one may have imported tasks already, and with them what Django itself sets.
        if handler := getattr(sys.modules.get(name), "task_backends", None):
            handler.settings = handler._settings = handler.configure_settings(None)
            handler._connections = Local()


class TaskqDjangoConfig(AppConfig):
    name = "taskq_django"
    label = "taskq_django"
    verbose_name = _("Task queue")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks
        from .store.identity import identify

        post_migrate.connect(identify, sender=self)
        if not checks.has_framework():
            return  # the system check E009 says what to install
        from . import compat  # registers the framework's own checks and receivers

        if checks.has_misspelt_backend():
            compat.without_framework_check()
            return  # the system check E008 says what was meant; Django's own @task would raise now
        from .conf import right_settings
        from .registry import registry

        registry.discover()
        if (seconds := right_settings().beat.mail_failures) is not None:
            from .beat import mails

            mails.declare(seconds)

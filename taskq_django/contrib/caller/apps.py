from __future__ import annotations

from django.apps import AppConfig

from ... import signals


class CallerConfig(AppConfig):
    name = "taskq_django.contrib.caller"
    label = "taskq_django_caller"

    def ready(self) -> None:
        from .surroundings import put_on, take_along

        signals.before_enqueue.connect(take_along, dispatch_uid="taskq_django.contrib.caller")
        signals.before_run.connect(put_on, dispatch_uid="taskq_django.contrib.caller")

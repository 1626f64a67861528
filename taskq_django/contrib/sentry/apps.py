from __future__ import annotations

from importlib.util import find_spec

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from ... import signals


class SentryConfig(AppConfig):
    name = "taskq_django.contrib.sentry"
    label = "taskq_django_sentry"

    def ready(self) -> None:
        if find_spec("sentry_sdk") is None:
            raise ImproperlyConfigured(f"{self.name} needs Sentry's SDK: pip install sentry-sdk")
        from sentry_sdk import get_global_scope
        from sentry_sdk.integrations.logging import ignore_logger

        from . import receivers

        for name in ("taskq_django.task", "django.tasks", "django_tasks"):
            ignore_logger(name)  # their line of a job that has failed would be an event, in the place of ours
        get_global_scope().add_event_processor(receivers.without_secrets)
        for signal, receiver in (
            (signals.before_run, receivers.check_in),
            (signals.run_failed, receivers.capture),
            (signals.after_run, receivers.check_out),
            (signals.worker_stopping, receivers.flush),
        ):
            signal.connect(receiver, dispatch_uid=self.name)

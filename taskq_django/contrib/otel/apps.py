from __future__ import annotations

from importlib.util import find_spec

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from ... import signals


class OpenTelemetryConfig(AppConfig):
    name = "taskq_django.contrib.otel"
    label = "taskq_django_otel"

    def ready(self) -> None:
        if find_spec("opentelemetry") is None:
            raise ImproperlyConfigured(f'{self.name} needs an extra: pip install "taskq-django[otel]"')
        from . import counters, spans

        for signal, receiver in (
            (signals.before_enqueue, spans.create),
            (signals.before_run, spans.begin),
            (signals.run_failed, spans.note_exception),
            (signals.run_retried, spans.note_exception),
            (signals.after_run, spans.end),
        ):
            signal.connect(receiver, dispatch_uid=self.name)
        counters.offer()

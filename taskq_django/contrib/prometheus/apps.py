from __future__ import annotations

from importlib.util import find_spec

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class PrometheusConfig(AppConfig):
    name = "taskq_django.contrib.prometheus"
    label = "taskq_django_prometheus"

    def ready(self) -> None:
        if find_spec("prometheus_client") is None:
            raise ImproperlyConfigured(f'{self.name} needs an extra: pip install "taskq-django[prometheus]"')
        from ...worker.probes import PAGES
        from .page import Metrics

        PAGES[b"/metrics"] = Metrics()

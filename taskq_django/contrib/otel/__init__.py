"""Spans of who enqueues and of each run, and counters, for OpenTelemetry.

``INSTALLED_APPS = [..., "taskq_django.contrib.otel"]`` and the extra ``taskq-django[otel]``.
The project sets up the SDK itself.
"""

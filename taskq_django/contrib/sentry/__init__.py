"""Errors of jobs, and check-ins of schedules, for Sentry.

``INSTALLED_APPS = [..., "taskq_django.contrib.sentry"]`` in a project that calls ``sentry_sdk.init`` itself.
"""

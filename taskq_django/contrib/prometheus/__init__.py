"""What Prometheus reads at ``/metrics`` of the port that ``--health-port`` names.

``INSTALLED_APPS = [..., "taskq_django.contrib.prometheus"]`` and the extra ``taskq-django[prometheus]``.
"""

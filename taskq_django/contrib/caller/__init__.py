"""What surrounds a caller surrounds the job too: language, time zone, and the ids of its request and its tenant.

``INSTALLED_APPS = [..., "taskq_django.contrib.caller"]``. A job carries them in its headers as ``caller``; a job that a
job enqueues has them from it.
"""

from __future__ import annotations

from contextvars import ContextVar

# "" where there is none. Whoever sets them sets them for what it calls; in a job they end with it.
request_id: ContextVar[str] = ContextVar("taskq_django_request_id", default="")
tenant_id: ContextVar[str] = ContextVar("taskq_django_tenant_id", default="")

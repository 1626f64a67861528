"""A page of a project that shows how far some jobs are."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template import engines

from taskq_django.compat import task_backends

PAGE = """{% load taskq %}<!doctype html>
<html lang="en"><head><title>Jobs</title></head>
<body><h1>Jobs</h1>{% for result in results %}{% taskq_progress result %}{% endfor %}</body></html>
"""


def of_jobs(request: HttpRequest, ids: str) -> HttpResponse:
    """``ids``: with slashes between them."""
    results = task_backends["default"].get_results(ids.split("/"))  # type: ignore[attr-defined]
    return HttpResponse(engines["django"].from_string(PAGE).render({"results": results}, request))

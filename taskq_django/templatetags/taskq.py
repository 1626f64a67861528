"""``{% load taskq %}``"""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from ..pages.progress import shown
from ..results import Result

register = template.Library()


@register.inclusion_tag("taskq_django/progress.html", takes_context=True)
def taskq_progress(context: Context, result: Result[Any]) -> dict[str, Any]:
    """A bar that shows how far the job of this ``Result`` is, and follows it while the page is open."""
    if not isinstance(result, Result):
        raise TypeError(
            f"{{% taskq_progress %}} needs the Result of a job, not {result!r} ({type(result).__name__}): "
            "pass what enqueue() has returned, or TASK.get_result(id)."
        )
    # A nonce that nobody has asked for yet is false (Django 6.0), so that it is not asked whether it is true.
    return shown(result) | ({"nonce": [context["csp_nonce"]]} if "csp_nonce" in context else {})

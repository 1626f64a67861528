"""Shows how far one job is, to whoever has been given its address: a page, the bar of that page, and JSON.

The address has the job's id under a signature, so that nobody can ask for another one. No argument, result or error is
shown.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.core.signing import BadSignature, Signer
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..compat import InvalidTaskBackend, TaskResultDoesNotExist, task_backends
from ..exceptions import BrokerError, ConfigurationError
from ..results import Result
from ..states import State
from ..store.connections import OUTAGE

SALT = "taskq_django.progress"
RETRY_AFTER = 5  # seconds, where nobody can tell how far the job is

# For visitors, to whom "ready" would be what has been done.
SAID = {
    State.SCHEDULED: _("Waiting"),
    State.READY: _("Waiting"),
    State.RUNNING: _("Running"),
    State.SUCCESSFUL: _("Done"),
    State.FAILED: _("Failed"),
    State.CANCELLED: _("Cancelled"),
    State.EXPIRED: _("Expired"),
}

View = Callable[[HttpRequest, str], HttpResponse]


def token_of(result: Result[Any]) -> str:
    """What an address names the job by: its backend and its id, signed by the project's SECRET_KEY."""
    return Signer(salt=SALT).sign_object([result.backend, result.id])


def shown(result: Result[Any]) -> dict[str, Any]:
    """What the templates show of a job: by one query, unless its progress has been read."""
    progress, is_over = result.progress, result.state.is_final
    fraction = progress.fraction if progress else None
    if result.state is State.SUCCESSFUL:
        fraction = 1.0
    elif is_over and fraction is None:
        fraction = 0.0
    return {
        "state": result.state,
        "label": SAID[result.state],
        "is_over": is_over,
        "progress": progress,
        "value": "" if fraction is None else f"{fraction:.4f}",  # a text, which no locale writes in another way
        **_addresses(token_of(result)),
    }


def _addresses(token: str) -> dict[str, str]:
    try:
        return {f"{name}_url": reverse(f"taskq_django:{name}", args=[token]) for name in ("progress", "progress_bar")}
    except NoReverseMatch as error:
        remedy = 'path("tasks/", include("taskq_django.urls"))'
        raise ConfigurationError(f"The project has no addresses for progress: add {remedy} to its URLconf.") from error


def _of_a_job(view: Callable[[HttpRequest, Result[Any]], HttpResponse]) -> View:
    """Answers 404 for a job that is known no more, and 503 while its broker or its store cannot be asked."""

    @require_safe
    @never_cache
    @wraps(view)
    def answer(request: HttpRequest, token: str) -> HttpResponse:
        try:
            backend, id_ = Signer(salt=SALT).unsign_object(token)
            return view(request, cast("Result[Any]", task_backends[backend].get_result(id_)))
        except (BadSignature, InvalidTaskBackend, TaskResultDoesNotExist):
            raise Http404(_("There is no job with this id.")) from None
        except (BrokerError, *OUTAGE):
            return HttpResponse(status=503, headers={"Retry-After": str(RETRY_AFTER)})

    return answer


@_of_a_job
def progress(request: HttpRequest, result: Result[Any]) -> HttpResponse:
    return render(request, "taskq_django/progress_page.html", {"result": result, **shown(result)})


@_of_a_job
def progress_bar(request: HttpRequest, result: Result[Any]) -> HttpResponse:
    return render(request, "taskq_django/progress_bar.html", shown(result))


@_of_a_job
def progress_json(request: HttpRequest, result: Result[Any]) -> HttpResponse:
    said = result.progress
    told = {name: getattr(said, name, None) for name in ("done", "total", "fraction", "text", "updated_at")}
    return JsonResponse({"state": result.state, "is_final": result.state.is_final, **told})

"""The registered tasks, how they fared of late, and a form to enqueue one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ...backend import databases_of
from ...compat import InvalidTask, InvalidTaskBackend
from ...exceptions import ArgumentError, BrokerError, ConfigurationError
from ...models import RegisteredTask
from ...registry import registry
from ...status import why_unanswered
from ...store.connections import OUTAGE
from ...store.counts import DROPPED, FAILED, RETRIED, SUCCEEDED, Tally, quantile
from ...tasks import Task
from ...traffic import by_task
from ..brokers import usable_brokers
from ..lists import job_url
from ..schedules.calls import signature_text
from ..schedules.schedulable import may_schedule
from .base import PageAdmin
from .run_form import RunForm
from .words import brief


@dataclass(frozen=True, slots=True)
class Row:
    """A task as the page shows it; the figures are of the last 24 hours."""

    path: str
    module: str
    name: str
    signature: str
    about: str
    queue: str
    options: str
    succeeded: int
    failed: int
    retried: int
    dropped: int
    waited: str  # p95
    ran: str  # p50 and p95
    may_run: bool


@admin.register(RegisteredTask)
class TaskAdmin(PageAdmin):
    page = "tasks"
    title = _("Tasks")

    def own_urls(self) -> list[Any]:
        return [self._path("<str:path>/", self.run_view, "run")]

    def shown(self, request: HttpRequest) -> dict[str, Any]:
        brokers, problems = usable_brokers()
        tallies: dict[str, Tally] = {}
        try:
            tallies = by_task(databases_of(brokers), datetime.now(UTC))
        except OUTAGE as error:
            problems.append(why_unanswered(error))
        rows = [_row(task, tallies.get(task.module_path), self._may_run(request, task)) for task in registry.all()]
        term = request.GET.get("q", "").strip().lower()
        return {
            "rows": [row for row in rows if term in row.path.lower() or term in row.about.lower()],
            "count": len(rows),
            "term": request.GET.get("q", ""),
            "problems": problems,
            "results_url": self.list_url(request, "jobresult"),
            "acts": self.acts(),
        }

    def _may_run(self, request: HttpRequest, task: Task[..., Any]) -> bool:
        """Who may not schedule it may not run it either: the task, or the settings, say so."""
        return self.may(request, "enqueue_task") and may_schedule(request.user, task)

    def run_view(self, request: HttpRequest, path: str) -> HttpResponse:
        if not (self.has_view_permission(request) or self.may(request, "enqueue_task")):
            raise PermissionDenied
        task = registry.get(path)  # of a path that nobody has registered nothing is imported
        if task is None:
            raise Http404(_t("No task of this name is registered."))
        may_run = self._may_run(request, task)
        if request.method == "POST" and not may_run:
            raise PermissionDenied
        form = RunForm(task, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and (job_id := self._enqueue(request, task, form)):
            link = format_html('<a href="{}">{}</a>', job_url(self.admin_site.name, job_id), job_id)
            messages.success(request, format_html(_t("Enqueued as job {}."), link))
            return redirect(self.url("run", path))
        context = {
            "title": task.module_path,
            "task": _row(task, None, may_run),
            "docstring": (task.func.__doc__ or "").strip(),
            "fieldset": helpers.Fieldset(form, fields=list(form.fields), model_admin=self),  # type: ignore[arg-type]
            "form": form,
        }
        return self.rendered(request, "task", context)

    def _enqueue(self, request: HttpRequest, task: Task[..., Any], form: RunForm) -> str:
        """Returns the id of the job; "" where it was refused, as the form says then."""
        args, kwargs = form.call
        try:
            result = task.enqueue(*args, **kwargs)
        except (ArgumentError, InvalidTask, InvalidTaskBackend, ConfigurationError, TypeError, ValueError) as error:
            form.refuse(error)
        except (BrokerError, *OUTAGE) as error:
            form.add_error(None, why_unanswered(error))
        else:
            # Not in one transaction: an engine hears of the job after the commit only, and may be away.
            self.note(request, task.module_path, _t("Enqueued as job %s.") % result.id)
            return result.id
        return ""


def _row(task: Task[..., Any], tally: Tally | None, may_run: bool) -> Row:
    tally = tally or Tally()
    module, _dot, name = task.module_path.rpartition(".")
    p50, p95 = quantile(tally.runs, 0.5), quantile(tally.runs, 0.95)
    return Row(
        path=task.module_path,
        module=module,
        name=name,
        signature=signature_text(task),
        about=(task.func.__doc__ or "").strip().partition("\n")[0],
        queue=task.queue_name,
        options=_options(task),
        succeeded=tally.ends[SUCCEEDED],
        failed=tally.ends[FAILED],
        retried=tally.ends[RETRIED],
        dropped=tally.ends[DROPPED],
        waited=brief(quantile(tally.waits, 0.95)),
        ran="–" if p50 is None else f"{brief(p50)} / {brief(p95)}",
        may_run=may_run,
    )


def _options(task: Task[..., Any]) -> str:
    """What is not as by default, for people."""
    said = [_t("%(count)d attempts") % {"count": task.attempts_allowed}] if task.attempts_allowed > 1 else []
    if task.timeout is not None:
        said.append(_t("time limit %s s") % f"{task.timeout:g}")
    if task.priority:
        said.append(_t("priority %d") % task.priority)
    if task.is_async:
        said.append(_t("async"))
    return ", ".join(said)

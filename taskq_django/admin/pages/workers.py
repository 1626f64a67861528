"""Who is working, on what; and requests to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import time
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ... import control
from ...backend import databases_of
from ...brokers import Broker
from ...brokers.base import Found
from ...exceptions import BrokerError
from ...jobs import is_id
from ...models import JobResult, Request, WorkerProcess, WorkerState
from ...status import WorkerStatus, why_unanswered, workers_in
from ...store.connections import OUTAGE
from ..brokers import usable_brokers
from ..lists import job_url
from .base import PageAdmin, Refused
from .words import mark, span

JOBS_SHOWN = 50  # of all workers
VERBS = {"quiet": Request.QUIET, "stop": Request.STOP, "serve": None}


@dataclass(frozen=True, slots=True)
class HeldJob:
    name: str
    url: str  # of its page; "" for none
    age: str


@dataclass(slots=True)
class Row:
    """A worker as the page shows it."""

    worker: WorkerStatus
    badge: Any
    seen: str
    up: str
    told: str  # of a request that it has not heeded yet
    jobs: list[HeldJob] = field(default_factory=list)


@admin.register(WorkerProcess)
class WorkerAdmin(PageAdmin):
    page = "workers"
    title = _("Workers")

    def own_urls(self) -> list[Any]:
        return [self._path("act/", self.act_view, "act")]

    def shown(self, request: HttpRequest) -> dict[str, Any]:
        brokers, problems = usable_brokers()
        rows: dict[str, Row] = {}
        for database in databases_of(brokers):
            try:
                for worker in workers_in(database):  # of the same id in each, and asked in one
                    if worker.id not in rows or (worker.request and not rows[worker.id].worker.request):
                        rows[worker.id] = worker_row(worker)
            except OUTAGE as error:
                problems.append(why_unanswered(error))
        may_view_jobs = self.sees(request, "queuedjob") and self.admin_site.is_registered(JobResult)  # it has the page
        link = (lambda id_: job_url(self.admin_site.name, id_)) if may_view_jobs else (lambda id_: "")
        problems += list(_add_jobs(rows, brokers, link))
        return {
            "rows": list(rows.values()),
            "problems": problems,
            "may_control": self.may(request, "control_worker"),
            "acts": self.acts(),
        }

    def act_view(self, request: HttpRequest) -> HttpResponse:
        worker_id, verb = request.POST.get("worker", ""), request.POST.get("verb", "")
        if request.method == "POST" and verb == "stop" and "sure" not in request.POST:
            if not self.may(request, "control_worker"):
                raise PermissionDenied
            question = _t("Stop the worker %s? It finishes what it runs, and ends.") % worker_id
            return self.confirmation(request, question, {"worker": worker_id, "verb": verb})
        return self.act_on_post(request, "control_worker", lambda: self._ask(request, worker_id, verb))

    def _ask(self, request: HttpRequest, worker_id: str, verb: str) -> str:
        if verb not in VERBS:
            raise Refused(_t("There is no such act."))
        said = {"quiet": _t("Asked to be quiet."), "stop": _t("Asked to stop.")}
        is_asked, away = False, list[str]()
        for database in databases_of(usable_brokers()[0]):
            if is_asked and verb != "serve":  # one request is enough, and each has to be taken back
                break
            try:
                with transaction.atomic():
                    is_known = control.ask_worker(worker_id, VERBS[verb], database)
                    if is_known and not is_asked:
                        self.note(request, worker_id, said.get(verb, _t("Asked to serve again.")))
                is_asked |= is_known
            except OUTAGE as error:
                away.append(f"{database}: {why_unanswered(error)}")
        if away and (verb == "serve" or not is_asked):
            raise Refused("; ".join(away))
        if not is_asked:
            raise Refused(_t("There is no worker %s any more that could be asked.") % worker_id)
        return _t("%s will do so with its next sign of life.") % worker_id


def worker_row(worker: WorkerStatus) -> Row:
    if not worker.alive:
        badge = mark("failed", _t("Lost"))
    elif worker.serving == 0:
        badge = mark("failed", _t("No process can run jobs"))
    elif worker.state == WorkerState.STOPPING:
        badge = mark("scheduled", _t("Stopping"))
    elif worker.state == WorkerState.QUIET:
        badge = mark("cancelled", _t("Quiet"))
    else:
        badge = mark("successful", _t("Serving"))
    asked = {
        "QUIET": (WorkerState.QUIET, _t("asked to be quiet")),
        "STOP": (WorkerState.STOPPING, _t("asked to stop")),
    }
    state, told = asked.get(worker.request, (worker.state, ""))
    told = told if worker.alive and worker.state != state else ""
    return Row(worker, badge, span(worker.seen), span(worker.up), told)


def _add_jobs(rows: dict[str, Row], brokers: Iterable[Broker], link: Callable[[str], str]) -> Iterable[str]:
    """To each row what its processes hold; returns why some could not be asked."""
    owners: dict[str, Row] = {}
    for database in databases_of(brokers):
        children = WorkerProcess.objects.using(database).filter(supervisor__in=list(rows))
        try:
            owners |= {id_: rows[owner] for id_, owner in children.values_list("id", "supervisor_id") if owner}
        except OUTAGE:  # whoever asked it for its workers has said so
            continue
    for broker in brokers:
        try:
            for found in broker.held(list(owners), JOBS_SHOWN) if owners else ():
                if found.worker_id in owners:
                    owners[found.worker_id].jobs.append(_held_job(found, link))
        except (BrokerError, *OUTAGE) as error:
            yield f"{broker.alias}: {why_unanswered(error)}"


def _held_job(found: Found, link: Callable[[str], str]) -> HeldJob:
    since = found.job.started_at
    age = max(0.0, time() - since) if since else None
    return HeldJob(found.job.task_path, link(found.job.id) if is_id(found.job.id) else "", span(age))

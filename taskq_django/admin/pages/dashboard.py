"""How it stands, on one page: each figure leads to the list behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db import router
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ...backend import databases_of
from ...brokers import Broker
from ...models import Dashboard, JobResult, Schedule
from ...models.moments import aware
from ...states import State
from ...status import Status, read_status
from ...store.connections import OUTAGE
from ...store.pruning import first_id
from ...traffic import DAY, RANGES, History, Rates, enqueued, overview
from ..brokers import usable_brokers
from .banners import banners
from .base import PageAdmin
from .chart import chart_of
from .queues import Row, queue_rows
from .words import brief, per_minute, span
from .workers import worker_row

MOST_FAILURES = 1000  # that are looked at; more are "1000+"
GROUPS_SHOWN, QUEUES_SHOWN, WORKERS_SHOWN, RUNS_SHOWN = 8, 10, 10, 10
RANGE_LABELS = {"1h": _("1 hour"), "24h": _("24 hours"), "7d": _("7 days")}


@dataclass(frozen=True, slots=True)
class Card:
    label: Any
    value: Any
    url: str  # "" where its list is not to be seen
    is_bad: bool = False


@dataclass(slots=True)
class Cause:
    """Failures of one task by one exception."""

    task: str
    exception: str
    count: int
    last: str
    url: str


@dataclass(frozen=True, slots=True)
class Traffic:
    past: History
    queues: list[Row]
    enqueued: str  # a minute
    ended: str


@admin.register(Dashboard)
class DashboardAdmin(PageAdmin):
    page = "dashboard"
    title = _("Dashboard")

    def shown(self, request: HttpRequest) -> dict[str, Any]:
        brokers, problems = usable_brokers()
        name = request.GET.get("range", "1h")
        name = name if name in RANGES else "1h"
        status = read_status(brokers, ended=False)
        traffic = _traffic(brokers, name, status)
        past, queues = traffic.past, traffic.queues
        failures = _failures() if self.sees(request, "jobresult") else None
        schedules_url = self.list_url(request, "schedule")
        chart = chart_of(past)
        return {
            "cards": self._cards(request, status, failures),
            "banners": banners(
                status, queues, problems, lambda state: schedules_url and f"{schedules_url}?state={state}"
            ),
            "ranges": [(each, label, each == name) for each, label in RANGE_LABELS.items()],
            "chart": chart,
            "times": [
                (_("Waited"), brief(past.waited(0.5)), brief(past.waited(0.95))),
                (_("Ran"), brief(past.ran(0.5)), brief(past.ran(0.95))),
            ],
            "rates": [(_("Enqueued"), traffic.enqueued), (_("Ended"), traffic.ended)],
            "queues": queues[:QUEUES_SHOWN] if self.sees(request, "queue") else None,
            "queues_url": self.list_url(request, "queue"),
            "workers": [worker_row(each) for each in status.workers[:WORKERS_SHOWN]]
            if self.sees(request, "workerprocess")
            else None,
            "workers_url": self.list_url(request, "workerprocess"),
            "causes": None if failures is None else self._causes(request, failures),
            "are_all_failures": len(failures or ()) <= MOST_FAILURES,
            "runs": self._next_runs() if self.sees(request, "schedule") else None,
        }

    def _cards(self, request: HttpRequest, status: Status, failures: Sequence[Any] | None) -> list[Card]:
        """``failures``: None where they are not to be seen, or cannot be asked for."""
        running, scheduled = (sum(getattr(each, name) for each in status.queues) for name in ("running", "scheduled"))
        alive = sum(worker.alive for worker in status.workers)
        lists = {
            state: self.list_url(request, "queuedjob", status=state.value) for state in State if not state.is_final
        }
        cards = [
            Card(_("Ready"), status.ready, lists[State.READY]),
            Card(_("Running"), running, lists[State.RUNNING]),
            Card(_("Scheduled"), scheduled, lists[State.SCHEDULED]),
            Card(_("Oldest waits for"), span(status.oldest_ready or None), lists[State.READY]),
            Card(_("Workers alive"), alive, self.list_url(request, "workerprocess"), is_bad=alive == 0),
        ]
        count = len(failures or ())
        failed = f"{MOST_FAILURES}+" if count > MOST_FAILURES else count
        url = self.list_url(request, "jobresult", status=State.FAILED.value)
        # Who may not see results is not told how many have failed either.
        cards.insert(3, Card(_("Failed, 24 h"), "–" if failures is None else failed, url, is_bad=count > 0))
        return cards

    def _causes(self, request: HttpRequest, failures: Sequence[Any]) -> list[Cause]:
        """The most frequent first."""
        groups: dict[tuple[str, str], list[datetime]] = {}
        for task, exception, finished_at in failures[:MOST_FAILURES]:
            groups.setdefault((task, exception), []).append(aware(finished_at))
        now = timezone.now()
        ordered = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
        causes = []
        for (task, exception), moments in ordered[:GROUPS_SHOWN]:
            name, since = exception.removeprefix("builtins."), (aware(now) - max(moments)).total_seconds()
            url = self.list_url(request, "jobresult", status=State.FAILED.value, task=task, q=f"error:{name}")
            causes.append(Cause(task, name, len(moments), span(max(0.0, since)), url))
        return causes

    def _next_runs(self) -> list[dict[str, Any]] | None:
        """None while they cannot be asked for: the status has said why."""
        rows = Schedule.objects.using(router.db_for_read(Schedule)).filter(enabled=True, next_run_at__isnull=False)
        try:
            nearest = list(rows.order_by("next_run_at")[:RUNS_SHOWN])
        except OUTAGE:
            return None
        now = aware(timezone.now())
        return [
            {
                "name": row.name,
                "task": row.task_path,
                "url": self.page_url("schedule_change", row.pk),
                "left": span(max(0.0, (aware(row.next_run_at) - now).total_seconds())),
                "is_late": aware(row.next_run_at) < now,
                "at": aware(row.next_run_at),
            }
            for row in nearest
        ]


def _traffic(brokers: list[Broker], name: str, status: Status) -> Traffic:
    """Of a database that is away, nothing: the status has said so."""
    asked, now = [broker for broker in brokers if broker.alias not in status.unanswered], datetime.now(UTC)
    databases = databases_of(asked)
    rate_of: Rates = {}
    try:
        past, rate_of = overview(databases, name, now)
        rate, are_more = enqueued(databases, now)
    except OUTAGE:
        (past, rate_of), rate, are_more = overview([], name, now), 0.0, False
    is_least = are_more or any(broker.outside for broker in asked)  # what waits in an engine has no row
    rows = queue_rows(status.queues, status.workers, rate_of)
    return Traffic(
        past,
        sorted(rows, key=lambda row: (not row.is_deserted, -row.status.ready, row.status.queue)),
        enqueued="≥ " * (is_least and rate > 0) + per_minute(rate),
        ended=per_minute(sum(each.ended for each in rate_of.values())),
    )


def _failures() -> list[tuple[str, str, Any]] | None:
    """Of the jobs that were enqueued in the last 24 hours, by their index, and no more than are counted.

    None while they cannot be asked for: the status has said why.
    """
    since = first_id(datetime.now(UTC).timestamp() - DAY)
    rows = JobResult.objects.using(router.db_for_read(JobResult)).filter(status=State.FAILED, id__gte=since)
    newest = rows.order_by("-id").values_list("task_path", "exception_class", "finished_at")
    try:
        return list(newest[: MOST_FAILURES + 1])
    except OUTAGE:
        return None

"""What waits in each queue, how fast it goes, and acts on queues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ... import control
from ...backend import databases_of
from ...brokers import Broker
from ...compat import task_backends
from ...exceptions import BrokerError, ConfigurationError
from ...models import Queue
from ...models.moments import database_now
from ...registry import registry
from ...status import QueueStatus, WorkerStatus, read_status, why_unanswered
from ...store.connections import OUTAGE
from ...traffic import Rate, rates
from ..background import MOST_IN_A_REQUEST, enqueued, note, where, why_it_waits
from ..brokers import usable_brokers
from ..purging import purge_queue
from .base import PageAdmin, Refused
from .words import per_minute, span

PAUSES = {
    "": _("until it is resumed"),
    "600": _("for 10 minutes"),
    "3600": _("for an hour"),
    "28800": _("for 8 hours"),
    "86400": _("for a day"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A queue as the page shows it."""

    status: QueueStatus
    oldest: str
    rate: str  # jobs that end a minute
    failed: str  # of them; "" for none
    drain: str  # until all are done that are ready, at this rate
    listeners: int
    paused_for: str

    @property
    def is_deserted(self) -> bool:
        """Does something wait, and nobody come?"""
        return not (self.listeners or self.status.paused) and bool(self.status.ready or self.status.scheduled)


def queue_rows(queues: list[QueueStatus], workers: list[WorkerStatus], rate_of: Any) -> list[Row]:
    """``rate_of``: by backend and queue."""
    return [_row(each, rate_of.get((each.backend, each.queue), Rate()), workers) for each in queues]


def _row(queue: QueueStatus, rate: Rate, workers: list[WorkerStatus]) -> Row:
    drains = rate.ended and queue.ready and not queue.paused
    return Row(
        status=queue,
        oldest=span(queue.oldest_ready),
        rate=per_minute(rate.ended),
        failed=per_minute(rate.failed) if rate.failed else "",
        drain=f"≈ {span(queue.ready / rate.ended * 60)}" if drains else "–",
        listeners=sum(worker.claims(queue.backend, queue.queue) for worker in workers),
        paused_for="" if queue.paused_for is None else span(queue.paused_for),
    )


@admin.register(Queue)
class QueueAdmin(PageAdmin):
    page = "queues"
    title = _("Queues")

    def own_urls(self) -> list[Any]:
        views = {"pause": self.pause_view, "resume": self.resume_view, "purge": self.purge_view}
        return [self._path(f"{verb}/", view, verb) for verb, view in views.items()]

    def shown(self, request: HttpRequest) -> dict[str, Any]:
        brokers, problems = usable_brokers()
        status = read_status(brokers, ended=False)
        problems += [f"{alias}: {why}" for alias, why in status.unanswered.items()]
        rate_of: dict[tuple[str, str], Rate] = {}
        for database in databases_of(brokers):
            try:
                rate_of |= rates([database], database_now(database))
            except OUTAGE:  # the status has said it
                continue
        queues = sorted(_with_empty_ones(status.queues, brokers), key=lambda each: (each.backend, each.queue))
        return {
            "rows": queue_rows(queues, status.workers, rate_of),
            "problems": problems,
            "pauses": PAUSES.items(),
            "has_several": len(brokers) > 1,
            "may_control": self.may(request, "control_queue"),
            "may_purge": self.may(request, "purge_queue"),
            "jobs_url": self.list_url(request, "queuedjob"),
            "acts": self.acts(),
        }

    def pause_view(self, request: HttpRequest) -> HttpResponse:
        def act() -> str:
            broker, queue = _asked(request)
            seconds, reason = request.POST.get("seconds", ""), request.POST.get("reason", "").strip()
            if seconds not in PAUSES:
                raise Refused(_t("There is no such pause."))
            reason = reason.replace("\0", "")[:200]
            with transaction.atomic():
                _tried(lambda: control.pause(queue, broker, reason=reason, seconds=int(seconds) if seconds else None))
                self.note(request, f"{broker.alias}/{queue}", _paused(str(PAUSES[seconds]), reason))
            return _t("%s is paused.") % queue

        return self.act_on_post(request, "control_queue", act)

    def resume_view(self, request: HttpRequest) -> HttpResponse:
        def act() -> str:
            broker, queue = _asked(request)
            with transaction.atomic():
                if not _tried(lambda: control.resume(queue, broker)):
                    raise Refused(_t("%s was not paused.") % queue)
                self.note(request, f"{broker.alias}/{queue}", _t("Resumed."))
            return _t("%s goes on.") % queue

        return self.act_on_post(request, "control_queue", act)

    def purge_view(self, request: HttpRequest) -> HttpResponse:
        """Asks for the name of the queue, because what is purged is gone."""
        if request.method == "POST" and not self.may(request, "purge_queue"):
            raise PermissionDenied
        if request.method == "POST" and request.POST.get("typed") != request.POST.get("queue"):
            return self._ask_for_the_name(request)

        def act() -> str:
            broker, queue = _asked(request)
            waiting: int = _tried(lambda: control.count_waiting(queue, broker))
            if waiting > MOST_IN_A_REQUEST:
                return self._go_on(request, broker, queue, waiting)
            count: int = _tried(lambda: control.purge(queue, broker))
            said = ngettext("%(count)d job was removed.", "%(count)d jobs were removed.", count) % {"count": count}
            self.note(request, f"{broker.alias}/{queue}", said)
            return said

        return self.act_on_post(request, "purge_queue", act)

    def _go_on(self, request: HttpRequest, broker: Broker, queue: str, waiting: int) -> str:
        call = {"alias": broker.alias, "queue_name": queue, "user": str(request.user.pk)}
        job_id = _tried(lambda: enqueued(purge_queue, **call))
        text = ngettext("Asked for: Purge, %(count)d job.", "Asked for: Purge, %(count)d jobs.", waiting)
        said = text % {"count": waiting}
        note(request.user, job_id, purge_queue.module_path, said)
        self.note(request, f"{broker.alias}/{queue}", said)
        if problem := why_it_waits():
            messages.warning(request, problem)
        return where(self, request, job_id, _t("Purge of %(count)d jobs") % {"count": waiting})

    def _ask_for_the_name(self, request: HttpRequest) -> HttpResponse:
        try:
            broker, queue = _asked(request)
            waiting = _tried(lambda: control.count_waiting(queue, broker))
        except Refused as refusal:
            messages.error(request, str(refusal))
            return redirect(self.url())
        question = ngettext(
            "Remove %(count)d job that waits in %(queue)s for ever? What runs goes on.",
            "Remove %(count)d jobs that wait in %(queue)s for ever? What runs goes on.",
            waiting,
        ) % {"count": waiting, "queue": f"{broker.alias}/{queue}"}
        error = _t("That is not its name.") if "typed" in request.POST else ""
        fields = {"backend": broker.alias, "queue": queue}
        return self.confirmation(request, question, fields, to_type=queue, error=error)


def _asked(request: HttpRequest) -> tuple[Broker, str]:
    """The queue that a form names. Raises Refused."""
    alias, queue = request.POST.get("backend", ""), request.POST.get("queue", "")
    for broker in usable_brokers()[0]:
        if broker.alias == alias:
            return broker, queue
    raise Refused(_t("There is no backend %s.") % alias)


def _tried(act: Any) -> Any:
    try:
        return act()
    except ConfigurationError as error:
        raise Refused(str(error)) from error
    except (BrokerError, *OUTAGE) as error:
        raise Refused(why_unanswered(error)) from error


def _paused(how_long: str, reason: str) -> str:
    return _t("Paused %(how_long)s: %(reason)s") % {"how_long": how_long, "reason": reason or "–"}


def _with_empty_ones(queues: list[QueueStatus], brokers: list[Broker]) -> list[QueueStatus]:
    """With those that a task or QUEUES names and nothing waits in: they can be paused, too."""
    known = {(each.backend, each.queue) for each in queues}
    named = {(task.backend, task.queue_name) for task in registry.all()}
    named |= {(broker.alias, name) for broker in brokers for name in task_backends[broker.alias].queues}
    aliases = {broker.alias for broker in brokers}
    return queues + [QueueStatus(*each) for each in named - known if each[0] in aliases]

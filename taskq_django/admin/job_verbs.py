"""What may be done to jobs, from their lists and from the page of one: by ``control``, and noted in their history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from .. import control
from ..backend import brokers_of
from ..backoff import LONGEST_DELAY
from ..brokers import Broker
from ..exceptions import BrokerError, ConfigurationError, one_line
from ..models import JobResult
from ..models.moments import aware
from ..states import FINAL, LIVE, WAITING, State
from . import display

AT_ONCE = 500  # jobs of one note


class Refused(Exception):
    """What the form says cannot be done; the message is for people."""


class Chosen(NamedTuple):
    """A job that something is to be done to."""

    id: str
    backend: str
    task_path: str


class Done(NamedTuple):
    """To these jobs; ``said`` in one message, by its key in SAID, and ``noted`` in the history of each."""

    ids: frozenset[str]
    said: str
    noted: str


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants it, and for when, if that is to be said."""

    by: str
    due: datetime | None = None


Act = Callable[[Sequence[str], Broker, Order], list[Done]]


@dataclass(frozen=True, slots=True)
class Verb:
    label: Any
    permission: str  # as of ``has_…_permission``
    act: Act
    question: Any = ""  # what is asked before
    takes_time: bool = False  # is it to be said when?
    only: tuple[str, ...] = ()  # the states in which the page of a job offers it


SAID = {
    "retried": ngettext_lazy("%(count)d job will run again.", "%(count)d jobs will run again.", "count"),
    "cancelled": ngettext_lazy("%(count)d job was cancelled.", "%(count)d jobs were cancelled.", "count"),
    "asked": ngettext_lazy(
        "%(count)d job was asked to end: a worker has it, and ends it soon.",
        "%(count)d jobs were asked to end: workers have them, and end them soon.",
        "count",
    ),
    "due": ngettext_lazy("%(count)d job is due now.", "%(count)d jobs are due now.", "count"),
    "rescheduled": ngettext_lazy("%(count)d job has a new time.", "%(count)d jobs have a new time.", "count"),
    "deleted": ngettext_lazy("%(count)d job was deleted.", "%(count)d jobs were deleted.", "count"),
}


def _retry(ids: Sequence[str], broker: Broker, order: Order) -> list[Done]:
    return [Done(control.retry(ids, broker), "retried", _t("Retried."))]


def _cancel(ids: Sequence[str], broker: Broker, order: Order) -> list[Done]:
    done = control.cancel(ids, broker, reason=_t("cancelled in the admin by %s") % order.by)
    return [
        Done(done.ended, "cancelled", _t("Cancelled.")),
        Done(done.asked, "asked", _t("Asked to be cancelled.")),
    ]


def _run(ids: Sequence[str], broker: Broker, order: Order) -> list[Done]:
    return [Done(control.reschedule(ids, broker), "due", _t("Due now."))]


def _reschedule(ids: Sequence[str], broker: Broker, order: Order) -> list[Done]:
    due = order.due or timezone.now()
    return [Done(control.reschedule(ids, broker, due), "rescheduled", _t("Due at %s.") % display.exactly(due))]


def _delete(ids: Sequence[str], broker: Broker, order: Order) -> list[Done]:
    return [Done(control.delete(ids, broker), "deleted", _t("Deleted."))]


VERBS = {
    "retry": Verb(_("Retry"), "retry", _retry, only=control.REOPENED),
    "cancel": Verb(_("Cancel"), "cancel", _cancel, only=LIVE),
    "run": Verb(_("Run now"), "reschedule", _run, only=(State.SCHEDULED,)),
    "reschedule": Verb(
        _("Reschedule"),
        "reschedule",
        _reschedule,
        _("The time from which on they may run."),
        takes_time=True,
        only=WAITING,
    ),
    "delete": Verb(
        _("Delete"),
        "delete",
        _delete,
        _("Results, attempts and tracebacks are removed for good."),
        only=FINAL,
    ),
}

# Why nothing was done to some, by where they stand.
LEFT_ALONE = {
    State.SUCCESSFUL: ngettext_lazy(
        "%(count)d job was left alone: it has succeeded.",
        "%(count)d jobs were left alone: they have succeeded.",
        "count",
    ),
    State.RUNNING: ngettext_lazy(
        "%(count)d job was left alone: it runs.", "%(count)d jobs were left alone: they run.", "count"
    ),
    State.READY: ngettext_lazy(
        "%(count)d job was left alone: it is ready to run.",
        "%(count)d jobs were left alone: they are ready to run.",
        "count",
    ),
    State.SCHEDULED: ngettext_lazy(
        "%(count)d job was left alone: it waits for its time.",
        "%(count)d jobs were left alone: they wait for their time.",
        "count",
    ),
    "": ngettext_lazy(
        "%(count)d job was left alone: it is gone.", "%(count)d jobs were left alone: they are gone.", "count"
    ),
}
ENDED = ngettext_lazy(
    "%(count)d job was left alone: it has ended.", "%(count)d jobs were left alone: they have ended.", "count"
)


def order_of(request: HttpRequest, verb: Verb) -> Order:
    """What the form says. Raises Refused."""
    return Order(request.user.get_username(), _due(request) if verb.takes_time else None)


def _due(request: HttpRequest) -> datetime:
    try:
        due = parse_datetime(request.POST.get("due", "").strip())
    except ValueError:  # the 31st of June
        due = None
    if due is None:
        raise Refused(_t("Say when, like 2030-12-24 18:00."))
    now = aware(timezone.now())
    if not now < aware(due) < now + timedelta(seconds=LONGEST_DELAY):
        raise Refused(_t("Say a moment to come, within a hundred years."))
    return due if timezone.is_aware(due) else timezone.make_aware(due)


def act(request: HttpRequest, verb: Verb, jobs: Iterable[Chosen]) -> None:
    """Do it to these jobs, and say to how many; and of the others why not."""
    try:
        order = order_of(request, verb)
    except Refused as refusal:
        messages.error(request, str(refusal))
        return
    counts, left = Counter[str](), Counter[str]()
    for alias, group in by_backend(jobs).items():
        try:
            broker = brokers_of((alias,))[alias]
            for some in batched(group, AT_ONCE):  # so that what was done is noted, whatever fails after it
                _act_on_some(request, verb, some, broker, order, counts, left)
        except (BrokerError, ConfigurationError, DatabaseError) as error:
            messages.error(request, one_line(error))
    for said, count in counts.items():
        messages.success(request, SAID[said] % {"count": count})
    for state, count in left.items():
        messages.warning(request, LEFT_ALONE.get(state, ENDED) % {"count": count})


def by_backend(jobs: Iterable[Chosen]) -> dict[str, list[Chosen]]:
    groups: dict[str, list[Chosen]] = {}
    for job in jobs:
        groups.setdefault(job.backend, []).append(job)
    return groups


def batched(jobs: Sequence[Chosen], size: int) -> Iterator[Sequence[Chosen]]:
    return (jobs[start : start + size] for start in range(0, len(jobs), size))


def _act_on_some(
    request: HttpRequest,
    verb: Verb,
    jobs: Sequence[Chosen],
    broker: Broker,
    order: Order,
    counts: Counter[str],
    left: Counter[str],
) -> None:
    """Notes it in the history of the result, whichever table a job is in."""
    rest = {job.id: job for job in jobs}
    for done in verb.act(list(rest), broker, order):
        rows = [JobResult(id=id_, task_path=rest.pop(id_).task_path) for id_ in sorted(done.ids)]
        if rows:
            flag = DELETION if verb.act is _delete else CHANGE
            LogEntry.objects.log_actions(cast("int", request.user.pk), rows, flag, done.noted)
            counts[done.said] += len(rows)
    if rest:
        states = control.states_of(rest, broker)
        left.update(states.get(id_, "") for id_ in rest)


def may(model_admin: Any, request: HttpRequest, verb: Verb) -> bool:
    return bool(getattr(model_admin, f"has_{verb.permission}_permission")(request))

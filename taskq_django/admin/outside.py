"""What waits in engines, beside the rows of the list of queued jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

from django.db import DatabaseError
from django.http import QueryDict
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _t

from ..backend import brokers_of, our_backends
from ..brokers import Broker
from ..brokers.base import Depth, Outside
from ..exceptions import BrokerError, ConfigurationError, one_line
from ..jobs import Job, is_id
from ..models import PausedQueue
from ..states import State
from . import display
from .lists import task_cell
from .searching import Wanted, read

PATIENCE = 1.0  # seconds; where engines have taken longer, one that is away, the others are not asked
JOBS_SHOWN, OF_A_QUEUE, QUEUES_SHOWN = 30, 10, 50


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job as the list shows it."""

    task: SafeString
    badge: SafeString
    queue: str
    priority: int
    enqueued: SafeString | str
    waited: str


@dataclass(slots=True)
class Engine:
    """Of one backend, as the page shows it."""

    alias: str
    where: str
    problem: str = ""  # why it cannot be asked
    queues: list[Queue] = field(default_factory=list)
    left_out: int = 0  # queues
    jobs: list[Waiting] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    ready: int
    running: int
    oldest: str
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the list asks for: by its filters and its search."""

    queue: str
    task: str
    status: str
    wanted: Wanted
    may_see_payload: bool

    @classmethod
    def of(cls, address: QueryDict, may_see_payload: bool) -> Asked:
        queue, task, status, term = (address.get(name, "").strip() for name in ("queue", "task", "status", "q"))
        return cls(queue, task, status, read(term), may_see_payload)

    @property
    def id(self) -> str:
        """Of the one job that is asked for; "" for any."""
        least, most = self.wanted.ids or (None, "")
        return str(least) if least == most else ""

    def fits(self, job: Job) -> bool:
        is_found = self.wanted.fits(job.id, job.task_path, job.queue_name, self.call_of(job))
        return is_found and self.task in {"", job.task_path} and self.queue in {"", job.queue_name}

    def call_of(self, job: Job) -> str:
        """The arguments as the list shows them."""
        payload, headers = job.payload[: display.SHOWN_PAYLOAD], job.headers[: display.SHOWN_HEADERS]
        return display.short_arguments(payload, job.task_path, headers) if self.may_see_payload else "…"


def engines(address: QueryDict, site: str, *, may_see_payload: bool) -> list[Engine]:
    """Of each backend that has one, on the first page of a list with this address; ``site``: the admin's name."""
    if address.get("p", "1") not in {"", "1"}:
        return []
    beside = [(broker, broker.outside) for broker in _brokers() if broker.outside is not None]
    asked, shown = Asked.of(address, may_see_payload), list[Engine]()
    deadline = monotonic() + PATIENCE  # from here on: to load them takes time too
    for broker, outside in beside:
        engine = Engine(broker.alias, outside.describe())
        shown.append(engine)
        if monotonic() >= deadline:  # one that does not answer has taken it
            engine.problem = _t("was not asked, because another one did not answer in time: load the page again")
            continue
        try:
            _ask(engine, broker, outside, asked, site)
        except (BrokerError, DatabaseError) as error:
            engine.problem = one_line(error)
    return shown


def _brokers() -> Iterator[Broker]:
    for alias in our_backends():
        try:
            yield brokers_of((alias,))[alias]
        except ConfigurationError:  # for the system checks to say
            continue


def _ask(engine: Engine, broker: Broker, outside: Outside, asked: Asked, site: str) -> None:
    if not outside.shows_waiting:
        engine.problem = _t("does not tell what waits there")
        return
    depths = [each for each in outside.depth() if asked.queue in {"", each.queue_name}]
    depths.sort(key=lambda each: (-each.ready, each.queue_name))
    paused = set(
        PausedQueue.objects.using(broker.database).filter(backend=broker.alias).values_list("queue_name", flat=True)
    )
    engine.queues = [_queue(each, each.queue_name in paused) for each in depths[:QUEUES_SHOWN]]
    engine.left_out = len(depths) - len(engine.queues)
    engine.jobs = [_waiting(job, site, asked) for job in _first_jobs(outside, depths, asked)]


def _first_jobs(outside: Outside, depths: Sequence[Depth], asked: Asked) -> list[Job]:
    """That would be claimed next and are what is asked for: few of each queue, and few of all."""
    if asked.status not in {"", State.READY}:
        return []
    if asked.id:
        return [job for job, state, _ in outside.find([asked.id]).values() if state is State.READY]
    jobs: list[Job] = []
    for each in depths:
        if each.ready and len(jobs) < JOBS_SHOWN:
            jobs += outside.peek(each.queue_name, min(OF_A_QUEUE, JOBS_SHOWN - len(jobs)))
    return [job for job in jobs if asked.fits(job)]


def _queue(depth: Depth, is_paused: bool) -> Queue:
    oldest = "–" if depth.oldest is None else display.span(timedelta(seconds=depth.oldest))
    return Queue(display.cut(depth.queue_name, display.SHORT), depth.ready, depth.running, oldest, is_paused)


def _waiting(job: Job, site: str, asked: Asked) -> Waiting:
    moment = _moment(job.enqueued_at)
    is_ours = is_id(job.id)  # an id by another hand has no page
    return Waiting(
        task=task_cell(site, job.id, job.task_path, asked.call_of(job)) if is_ours else format_html("{}", job.id),
        badge=display.badge(State.READY),
        queue=display.cut(job.queue_name, display.SHORT),
        priority=job.priority,
        enqueued=display.when(moment),
        waited=display.duration(moment, datetime.now(UTC)),
    )


def _moment(seconds: float) -> datetime | None:
    """None: nobody has said it, or it is none, by another hand."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None

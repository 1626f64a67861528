"""How it stands: what waits and runs in each queue, and who is working. For commands, probes and pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic, sleep

from django.db import InterfaceError, OperationalError
from django.db.models import Count, OuterRef, Q, Subquery

from .brokers import Broker
from .brokers.base import Depth
from .conf import taskq_settings
from .exceptions import BrokerError, one_line
from .models import JobResult, PausedQueue, WorkerProcess, WorkerRequest, WorkerState
from .models.moments import DatabaseNow
from .states import FINAL
from .store.beat_sign import BeatStatus, read_sign
from .store.connections import OUTAGE, lacks_table, replace_lost
from .store.pruning import first_id

MARGIN = 1.0  # seconds
LOOK = 0.2  # seconds between two looks for signs of life
HOUR, DAY = 3600.0, 86_400.0  # seconds
COUNTED = 100_000  # ended jobs of a state, at most
AS_STORED = (  # of a worker
    *("id", "name", "host", "pid", "backends", "queues", "excluded", "serving", "processes"),
    *("version", "threads", "coroutines", "busy", "memory", "state"),
)


@dataclass(frozen=True, slots=True)
class QueueStatus:
    backend: str
    queue: str
    ready: int = 0
    scheduled: int = 0
    running: int = 0
    paused: bool = False
    oldest_ready: float | None = None  # seconds that the oldest ready job has been ready
    reason: str = ""  # why it is paused
    paused_for: float | None = None  # seconds until the pause ends; None: when somebody ends it


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    id: str
    name: str
    host: str
    pid: int
    backends: str
    queues: str  # "" for all
    excluded: str  # or all but these
    processes: int
    serving: int | None  # how many of these can run jobs; None: it has not said so
    seen: float  # seconds since its last sign of life
    alive: bool
    # Its sign of life is older than a lease, or of a time to come: it is lost, or a clock has been put forward or back.
    doubtful: bool
    version: str = ""
    threads: int | None = None  # sync jobs it can run at a time
    coroutines: int | None = None  # and async ones
    # As of its last sign of life:
    busy: int | None = None  # jobs that ran
    memory: int | None = None  # MiB of all its processes
    state: str = ""  # one of WorkerState
    request: str = ""  # what somebody has asked it to do: one of Request
    up: float | None = None  # seconds since it started

    def serves(self, aliases: Collection[str]) -> bool:
        """Does it run the jobs of one of these backends?"""
        return not self.backends or not set(self.backends.split(",")).isdisjoint(aliases)

    def claims(self, alias: str, queue: str) -> bool:
        """Does it claim the jobs of that queue now?"""
        only, without = (set(filter(None, names.split(","))) for names in (self.queues, self.excluded))
        return (
            self.alive
            and self.state in {"", WorkerState.SERVING}
            and self.serves([alias])
            and (not only or queue in only)
            and queue not in without
        )


@dataclass(slots=True)
class Status:
    """What some brokers and their stores tell, together."""

    queues: list[QueueStatus] = field(default_factory=list)
    workers: list[WorkerStatus] = field(default_factory=list)
    beats: list[BeatStatus] = field(default_factory=list)  # one for each database
    recent: dict[str, int] = field(default_factory=dict)  # ended jobs by state, of those enqueued in the last hour
    day: dict[str, int] = field(default_factory=dict)  # the same of the last day
    more: bool = False  # there may be more of them than were counted
    # Why, by the alias of each backend that cannot be asked, or whose engine cannot: of that the rows are counted.
    unanswered: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        """Jobs that wait for a worker; those of paused queues wait for something else."""
        return sum(queue.ready for queue in self.queues if not queue.paused)

    @property
    def oldest_ready(self) -> float:
        """Seconds; 0 when nothing waits."""
        return max((queue.oldest_ready or 0.0 for queue in self.queues if not queue.paused), default=0.0)


def read_status(brokers: Iterable[Broker], *, ended: bool = True) -> Status:
    """By few queries a database, which read indexes only, and what each broker tells of its queues.

    ``ended``: count what has ended, too.
    """
    status = Status()
    brokers_by_database: dict[str, list[Broker]] = {}
    for broker in brokers:
        brokers_by_database.setdefault(broker.database, []).append(broker)
    for database, here in brokers_by_database.items():
        aliases = [broker.alias for broker in here]
        try:
            replace_lost(database)
            paused = _paused(database, aliases)
            known = {worker.id for worker in status.workers}  # one that serves several databases is in each
            here_too = [worker for worker in workers_in(database) if worker.serves(aliases)]
            status.workers += [worker for worker in here_too if worker.id not in known]
            status.beats.append(read_sign(database))
            if ended:
                _add_ended(status, database, aliases)
        except OUTAGE as error:
            status.unanswered |= dict.fromkeys(aliases, why_unanswered(error))
            continue
        for broker in here:
            try:
                status.queues.extend(_queues(broker, _depths(broker, status), paused[broker.alias]))
            except (BrokerError, *OUTAGE) as error:
                status.unanswered[broker.alias] = why_unanswered(error)
    return status


def why_unanswered(error: Exception) -> str:
    """Why a broker or its store could not be asked, in one line."""
    if isinstance(error, BrokerError):
        return one_line(error)
    if lacks_table(error):
        what = "the tables of taskq_django are missing or older than the code, run `manage.py migrate`"
        return f"{what}: {one_line(error)}"
    says = "does not answer" if isinstance(error, (OperationalError, InterfaceError)) else "refuses this"
    return f"the database {says}: {one_line(error)}"


def alive_after_all(doubted: Collection[WorkerStatus], brokers: Iterable[Broker]) -> int:
    """How many of these workers give a sign of life within a heartbeat, whatever the clocks show."""
    databases = {broker.database for broker in brokers}
    before = _signs(doubted, databases)
    alive: set[tuple[str, str]] = set()
    deadline = monotonic() + taskq_settings().worker.heartbeat + MARGIN
    while len(alive) < len(before) and monotonic() < deadline:
        sleep(LOOK)
        now = _signs(doubted, databases)
        alive |= {key for key in before if now.get(key, before[key]) != before[key]}
    return len({id_ for _, id_ in alive})


def _signs(workers: Collection[WorkerStatus], databases: Iterable[str]) -> dict[tuple[str, str], datetime]:
    ids = [worker.id for worker in workers]
    return {
        (database, id_): seen_at
        for database in databases
        for id_, seen_at in WorkerProcess.objects.using(database).filter(id__in=ids).values_list("id", "seen_at")
    }


Pause = tuple[str, float | None]  # why, and seconds until it ends


def _paused(database: str, aliases: Collection[str]) -> dict[str, dict[str, Pause]]:
    """The paused queues of each alias, by name."""
    paused: dict[str, dict[str, Pause]] = {alias: {} for alias in aliases}
    rows = PausedQueue.objects.using(database).filter(backend__in=aliases).annotate(now=DatabaseNow())
    for row in rows:
        left = None if row.until is None else (row.until - row.now).total_seconds()
        if left is None or left > 0:  # else a worker removes it in a moment
            paused[row.backend][row.queue_name] = row.reason, left
    return paused


def _depths(broker: Broker, status: Status) -> list[Depth]:
    """Of its queues; while its engine does not answer, only of the rows, which are run meanwhile."""
    try:
        return broker.depth()
    except BrokerError as error:
        if broker.outside is None:
            raise
        status.unanswered[broker.alias] = why_unanswered(error)
        return broker.depth(in_store=True)


def _queues(broker: Broker, told: Iterable[Depth], paused: Mapping[str, Pause]) -> list[QueueStatus]:
    """Those that have jobs or are paused, by name."""
    depths = {depth.queue_name: depth for depth in told}
    return [
        QueueStatus(
            backend=broker.alias,
            queue=name,
            ready=depth.ready,
            scheduled=depth.scheduled,
            running=depth.running,
            paused=name in paused,
            oldest_ready=depth.oldest,
            reason=reason,
            paused_for=left,
        )
        for name in sorted(depths.keys() | paused.keys())
        for depth in [depths.get(name, Depth(name))]
        for reason, left in [paused.get(name, ("", None))]
    ]


def workers_in(database: str) -> list[WorkerStatus]:
    """Those that have not ended, or not as they should."""
    lease = taskq_settings().worker.lease
    requests = WorkerRequest.objects.filter(worker_id=OuterRef("pk")).values("request")
    rows = (
        WorkerProcess.objects.using(database)
        .filter(supervisor=None)
        .annotate(processes=Count("children"), now=DatabaseNow(), asked=Subquery(requests))
        .order_by("started_at")
    )
    return [
        WorkerStatus(
            **{name: getattr(row, name) for name in AS_STORED},
            seen=max(0.0, age),
            alive=age <= lease,
            doubtful=not -MARGIN <= age <= lease,
            request=row.asked or "",
            up=max(0.0, (row.now - row.started_at).total_seconds()),
        )
        for row in rows
        for age in [(row.now - row.seen_at).total_seconds()]
    ]


def _add_ended(status: Status, database: str, aliases: list[str]) -> None:
    """Of each state the newest rows only, so that a busy day costs no more than COUNTED."""
    rows = JobResult.objects.using(database).order_by("-id")
    now = rows.annotate(now=DatabaseNow()).values_list("now", flat=True).first()
    if now is None:
        return
    hour, day = (first_id(now.timestamp() - seconds) for seconds in (HOUR, DAY))
    ours = Q(backend__in=aliases)
    for state in FINAL:
        newest = rows.filter(status=state, id__gte=day).values("id", "backend")[:COUNTED]
        counted = newest.aggregate(
            looked=Count("id"), day=Count("id", filter=ours), hour=Count("id", filter=ours & Q(id__gte=hour))
        )
        for counts, count in ((status.recent, counted["hour"]), (status.day, counted["day"])):
            if count:
                counts[state.value] = counts.get(state.value, 0) + count
        status.more |= counted["looked"] == COUNTED

"""What a worker says when it starts: every value is the one in force, and what its start should not hide."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Collection, Iterator, Mapping

import django
from django.conf import settings
from django.db import connections

from .. import __version__
from ..backend import databases_of
from ..brokers import Broker
from ..conf import taskq_settings
from ..exceptions import BrokerError, clause, counted
from ..models import QueuedJob, WorkerProcess
from ..models.moments import DatabaseNow
from ..registry import registry
from ..states import WAITING
from ..store.dialects.advice import advice, max_connections
from .options import QueueChoice, WorkerOptions
from .probes import spelled_address

logger = logging.getLogger("taskq_django.worker")

# A worker that may open so large a part of the connections that the server allows is worth a warning.
CLOSE = 0.8
POOL_SIZE = 4  # of psycopg_pool, where the project names none
COUNTED = 10_000  # a worker must be ready within 2 s, whatever waits
UNSERVED_SHOWN = 10


def banner(options: WorkerOptions, brokers: Mapping[str, Broker], here: Mapping[str, Broker]) -> str:
    """``here``: those brokers that answer; about the others nothing more can be said."""
    tasks = registry.all()
    apps = {task.module_path.partition(".")[0] for task in tasks}
    queues = ", ".join(sorted(options.queues)) or "all"
    if options.exclude_queues:
        queues += f" but {', '.join(sorted(options.exclude_queues))}"
    pool = f"{counted(options.threads, 'thread')}, {counted(options.coroutines, 'coroutine')}"
    if options.processes:
        pool = f"{counted(options.processes, 'process', 'processes')} × ({pool})"
    debug = " (DEBUG=True)" if settings.DEBUG else ""
    versions = f"Django {django.get_version()}, Python {platform.python_version()}"
    rows = [
        ("settings", f"{os.environ.get('DJANGO_SETTINGS_MODULE', 'configured in code')}{debug}"),
        *[
            ("broker", f"{alias} -> {broker.describe()}{_silence(broker, alias in here)}")
            for alias, broker in brokers.items()
        ],
        ("queues", queues),
        ("pool", f"{pool}, grace {options.grace:g} s"),
        *([("beat", "in this worker")] if options.beat else []),
        *([("probes", f"{spelled_address(options.health_port)}, /live and /ready")] if options.health_port else []),
        ("tasks", f"{len(tasks)} in {counted(len(apps), 'package')}"),
        *notices(options, here),
    ]
    return "\n".join(
        [
            f"taskq worker {__version__}  {options.name}    {versions}",
            *[f"  {name:<12} {value}" for name, value in rows],
            "Ready. Quit the worker with CONTROL-C (twice: stop now).",
        ]
    )


def _silence(broker: Broker, is_here: bool) -> str:
    if not is_here:
        return ", which does not answer"
    return "" if broker.sees_all else ". The engine does not answer: the jobs of the database are run meanwhile"


def notices(options: WorkerOptions, brokers: Mapping[str, Broker]) -> Iterator[tuple[str, str]]:
    """What to set, what will go short, and who is not served. Raises what the database raises."""
    wanted = max(options.processes, 1) * (options.threads + 2)
    for database in databases_of(brokers.values()):
        if text := advice(connections[database]):
            yield "advice", text
        allowed = max_connections(connections[database])
        if allowed and wanted >= allowed * CLOSE:
            text = (
                f'this worker may open {wanted} connections to DATABASES["{database}"], which allows {allowed} in all'
            )
            yield "connections", f"{text}: lower --processes or --threads, or raise max_connections"
    yield from _small_pools(options.threads + 1)
    yield from _unserved(options, brokers)


def _small_pools(wanted: int) -> Iterator[tuple[str, str]]:
    """``wanted``: how many connections the threads of one process want, with the one for all coroutines."""
    for alias, entry in connections.settings.items():
        if pool := entry["OPTIONS"].get("pool"):
            sizes = pool if isinstance(pool, Mapping) else {}
            most = sizes.get("max_size") or sizes.get("min_size", POOL_SIZE)
            if most < wanted:
                text = f'DATABASES["{alias}"]["OPTIONS"]["pool"] has {counted(most, "connection")} for a process'
                yield "connections", f"{text}, whose threads want {wanted}: lower --threads, or raise max_size"


def _unserved(options: WorkerOptions, brokers: Mapping[str, Broker]) -> Iterator[tuple[str, str]]:
    """A row for each of the first UNSERVED_SHOWN queues that have jobs, and nobody to run them."""
    shown = 0
    own = options.backends, options.choice
    for alias, broker in brokers.items():
        servers = [own, *_live(broker.database)]
        outside = _waiting_outside(broker)
        for queue in sorted({*_queues(broker.database, alias), *outside}):
            if any(alias in backends and choice.serves(queue) for backends, choice in servers):
                continue
            if shown == UNSERVED_SHOWN:
                yield "unserved", "and more: see manage.py taskq_status"
                return
            shown += 1
            waiting = _waiting(broker.database, alias, queue, outside.get(queue, 0))
            yield "unserved", f"{alias}/{queue} ({waiting}): no live worker serves it"


def _waiting_outside(broker: Broker) -> dict[str, int]:
    """How many jobs of each queue wait in an engine; none of one that is away, or that says so now."""
    if broker.outside is None or not broker.sees_all:
        return {}
    try:
        return {each.queue_name: each.ready for each in broker.outside.depth() if each.ready}
    except BrokerError as error:
        logger.warning("%s; whether all that waits there is served is not known", clause(error))
        return {}


def _queues(database: str, alias: str) -> list[str]:
    """The names of the queues with jobs that wait, by one probe of the index each: there may be millions of jobs."""
    found: set[str] = set()
    for status in WAITING:
        jobs = QueuedJob.objects.using(database).filter(backend=alias, status=status).order_by("queue_name")
        names = jobs.values_list("queue_name", flat=True)
        name = names.first()
        while name is not None:
            found.add(name)
            name = names.filter(queue_name__gt=name).first()
    return sorted(found)


def _waiting(database: str, alias: str, queue: str, outside: int) -> str:
    """``12 jobs``, with those that are no rows; counts no further than COUNTED rows."""
    # In the order of the index, because else PostgreSQL reads the table until it has seen enough rows of this queue.
    jobs = QueuedJob.objects.using(database).filter(backend=alias, queue_name=queue).order_by("rank", "available_at")
    count = sum(jobs.filter(status=status)[: COUNTED + 1].count() for status in WAITING)
    if count > COUNTED:
        return f"more than {COUNTED + outside} jobs"
    return counted(count + outside, "job")


def _live(database: str) -> list[tuple[Collection[str], QueueChoice]]:
    """The backends and the queues of each live worker."""
    lease = taskq_settings().worker.lease
    rows = WorkerProcess.objects.using(database).filter(supervisor=None, seen_at__gte=DatabaseNow(-lease))
    served: list[tuple[Collection[str], QueueChoice]] = []
    for row in rows.values_list("backends", "queues", "excluded"):
        backends, *queues = (frozenset(filter(None, text.split(","))) for text in row)
        served.append((backends, QueueChoice(*queues)))
    return served

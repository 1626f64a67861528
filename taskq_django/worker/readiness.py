"""What a worker looks at before it starts: tables, connections, and queues that nobody serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from ..brokers import Broker
from ..conf import taskq_settings
from ..models import QueuedJob, WorkerProcess
from ..models.moments import DatabaseNow
from ..states import State
from .options import WorkerOptions

# Of the connections that the server allows, from which part on a worker's own are worth a warning.
CLOSE = 0.8
WAITING = (State.READY, State.SCHEDULED)
COUNTED = 10_000  # a worker must be ready within 2 s, whatever waits
UNSERVED_SHOWN = 10


def pending_migrations(database: str) -> list[str]:
    """The names of our migrations that are not applied there. Raises what the database raises."""
    executor = MigrationExecutor(connections[database])
    ours = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "taskq_django"]
    return [migration.name for migration, _ in executor.migration_plan(ours) if migration.app_label == "taskq_django"]


def advice(options: WorkerOptions, brokers: Mapping[str, Broker]) -> Iterator[tuple[str, str]]:
    """Rows of the banner: what will go short, and who is not served. Raises what the database raises."""
    wanted = max(options.processes, 1) * (options.threads + 2)
    for database in dict.fromkeys(broker.database for broker in brokers.values()):
        allowed = _max_connections(database)
        if allowed and wanted >= allowed * CLOSE:
            text = (
                f'this worker may open {wanted} connections to DATABASES["{database}"], which allows {allowed} in all'
            )
            yield "connections", f"{text}: lower --processes or --threads, or raise max_connections"
    yield from _unserved(options, brokers)


def _unserved(options: WorkerOptions, brokers: Mapping[str, Broker]) -> Iterator[tuple[str, str]]:
    """A row for each of the first UNSERVED_SHOWN queues that have jobs, and nobody to run them."""
    shown = 0
    for alias, broker in brokers.items():
        servers = [_own(options), *_live(broker.database)]
        for queue in _queues(broker.database, alias):
            if any(server.serves(alias, queue) for server in servers):
                continue
            if shown == UNSERVED_SHOWN:
                yield "unserved", "and more: see manage.py taskq_status"
                return
            shown += 1
            yield "unserved", f"{alias}/{queue} ({_waiting(broker.database, alias, queue)}): no live worker serves it"


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


def _waiting(database: str, alias: str, queue: str) -> str:
    """``12 jobs``; counts no further than COUNTED."""
    # In the order of the index: without it PostgreSQL reads the table until it has met enough rows of this queue.
    jobs = QueuedJob.objects.using(database).filter(backend=alias, queue_name=queue).order_by("rank", "available_at")
    count = sum(jobs.filter(status=status)[: COUNTED + 1].count() for status in WAITING)
    if count > COUNTED:
        return f"more than {COUNTED} jobs"
    return f"{count} job{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Served:
    backends: frozenset[str]
    queues: frozenset[str]  # empty: all
    without: frozenset[str] = frozenset()

    def serves(self, backend: str, queue: str) -> bool:
        return backend in self.backends and (not self.queues or queue in self.queues) and queue not in self.without


def _own(options: WorkerOptions) -> Served:
    return Served(*map(frozenset, (options.backends, options.queues, options.exclude_queues)))


def _live(database: str) -> list[Served]:
    lease = taskq_settings().worker.lease
    rows = WorkerProcess.objects.using(database).filter(supervisor=None, seen_at__gte=DatabaseNow(-lease))
    return [
        Served(*(frozenset(filter(None, text.split(","))) for text in row))
        for row in rows.values_list("backends", "queues", "excluded")
    ]


def _max_connections(database: str) -> int:
    """What the server allows to whoever is not its superuser; 0 where there is no server."""
    connection = connections[database]
    sql = {
        "postgresql": "SELECT sum(CASE name WHEN 'max_connections' THEN 1 ELSE -1 END * setting::int) FROM pg_settings "
        "WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')",
        "mysql": "SELECT @@max_connections",  # one more for its superuser
    }.get(connection.vendor)
    if sql is None:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])

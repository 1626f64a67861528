"""What a worker looks at before it starts: tables, connections, and queues that nobody serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from ..brokers import Broker
from ..status import Status, read_status
from .options import WorkerOptions

# Of the connections that the server allows, from which part on a worker's own are worth a warning.
CLOSE = 0.8


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
    status = read_status(brokers.values())
    for queue in status.queues:
        count = queue.ready + queue.scheduled
        if count and not any(each.serves(queue.backend, queue.queue) for each in _servers(options, status)):
            yield "unserved", f"{queue.backend}/{queue.queue} ({count} jobs): no live worker serves it"


@dataclass(frozen=True, slots=True)
class Served:
    backends: frozenset[str]
    queues: frozenset[str]  # empty: all
    without: frozenset[str] = frozenset()

    def serves(self, backend: str, queue: str) -> bool:
        return backend in self.backends and (not self.queues or queue in self.queues) and queue not in self.without


def _servers(options: WorkerOptions, status: Status) -> Iterable[Served]:
    yield Served(frozenset(options.backends), options.queues, options.exclude_queues)
    for worker in status.workers:
        if worker.alive:
            queues = frozenset(filter(None, worker.queues.split(",")))
            yield Served(frozenset(worker.backends.split(",")), queues)


def _max_connections(database: str) -> int:
    """What the server allows; 0 where there is no server."""
    connection = connections[database]
    sql = {"postgresql": "SHOW max_connections", "mysql": "SELECT @@max_connections"}.get(connection.vendor)
    if sql is None:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])

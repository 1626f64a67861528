from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial
from typing import Any

from ..tasks import anap, nap, noop, read_and_write
from . import base, on_mariadb, on_redis
from .base import IS_SQLITE, NEW_UUID, VARIANT

JOB, RESULT = "taskq_django_queuedjob", "taskq_django_jobresult"


class Ours:
    distributions: tuple[str, ...] = ("django", "psycopg", "orjson")
    config = "``taskq_worker -p N`` with 4 threads a process, the default batch; results kept"
    jobs = 80_000
    tables: tuple[str, ...] = (JOB, RESULT, "taskq_django_pausedqueue")
    has_bulk = True
    naps = ("threads", "coroutines")

    def enqueue_one(self, n: int) -> None:
        noop.enqueue(n)

    def enqueue_bulk(self, first: int, end: int) -> None:
        noop.enqueue_many([(n,) for n in range(first, end)])

    def enqueue_in_queues(self, count: int) -> None:
        for name, numbers in self.queues(count):
            noop.using(queue_name=name).enqueue_many([(n,) for n in numbers])

    def enqueue_orm(self, count: int) -> None:
        read_and_write.enqueue_many([(n,) for n in range(count)])

    def enqueue_naps(self, count: int, kind: str) -> None:
        (nap if kind == "threads" else anap).enqueue_many([(n,) for n in range(count)])

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        threads = ["-t", "100"] if mode == "threads" else []
        return [[sys.executable, "-m", "django", "taskq_worker", "-v", "0", "-p", str(processes), *threads]]


class InDatabase(Ours, base.System):
    also: tuple[str, ...] = ("long", "queues", "producers", "orm")
    waiting = 600_000 if IS_SQLITE else 1_000_000
    scenes: tuple[str, ...] = ("history", "future", "paused", "snapshot")

    def left(self) -> int:
        return self.count(f"{JOB} WHERE status IN ('READY', 'RUNNING') AND queue_name <> 'paused'")

    def add_history(self, rows: int) -> None:
        self.clone(RESULT, rows, id=NEW_UUID)

    def add_future(self, rows: int) -> None:
        noop.using(run_after=timedelta(days=1)).enqueue(0)
        self.clone(JOB, rows, id=NEW_UUID)

    def add_paused(self, rows: int) -> None:
        from taskq_django.models import PausedQueue

        PausedQueue.objects.create(backend="default", queue_name="paused")
        noop.using(queue_name="paused").enqueue(0)
        self.clone(JOB, rows, id=NEW_UUID)

    def raw_insert(self, count: int) -> None:
        from taskq_django.jobs import new_id

        self.connection.ensure_connection()
        execute = self.connection.connection.cursor().execute
        mark = "?" if IS_SQLITE else "%s"
        sql = (
            f"INSERT INTO {JOB} (id, task_path, backend, queue_name, status, rank, available_at, enqueued_at, payload, "
            f"headers, tries, attempts, crashes) VALUES ({mark}, 'noop', 'default', 'default', 'READY', 0, {mark}, "
            f"{mark}, '[[1],{{}}]', '', 0, 0, 0)"
        )
        now: Any = "2026-01-01 00:00:00.000000" + ("+00:00" if VARIANT == "pg" else "")
        for _ in range(count):
            id_ = new_id()
            execute(sql, (id_ if VARIANT == "pg" else id_.replace("-", ""), now, now))


class InStockSQLite(InDatabase):
    also = ()
    scenes = ("history", "future", "paused")  # a rollback journal lets nobody write while another reads


class InMariaDB(on_mariadb.System, InDatabase):
    also = ()
    scenes = ()

    @property
    def distributions(self) -> tuple[str, ...]:
        driver = self.connection.Database.__name__  # another one may stand in for mysqlclient, which is faster
        return ("django", "mysqlclient" if driver == "MySQLdb" else driver, "orjson")


class InRedis(Ours, on_redis.System):
    distributions = ("django", "psycopg", "orjson", "kombu", "redis")
    config = "``taskq_worker -p N`` with 4 threads a process, the default batch; " + (
        "no results" if VARIANT == "redis" else "results kept in the database"
    )
    jobs = 60_000

    def left(self) -> int:
        return int(self.engine.hlen("taskq:{default}:jobs"))

    # The script that publishes, sent by the bare client with the same arguments.

    has_raw_bulk = True

    def raw_insert(self, count: int) -> None:
        from taskq_django.jobs import new_id

        send, body = self._raw()
        for _ in range(count):
            send("default", 0, 1, new_id(), body)

    def raw_bulk(self, count: int) -> None:
        from taskq_django.jobs import new_id

        send, body = self._raw()
        for _ in range(0, count, 1000):
            send("default", 0, 1000, *(each for _ in range(1000) for each in (new_id(), body)))

    def _raw(self) -> tuple[Any, str]:
        from taskq_django.brokers.kombu.lua import PUBLISH
        from taskq_django.store.identity import store_id

        known = (1, "taskq:{default}:", store_id("default"))
        digest = self.engine.script_load(PUBLISH.text)
        body = '{"v":1,"task":"tests.benchmarks.peers.tasks.noop","queue":"default","args":"[[1],{}]"}'
        return partial(self.engine.execute_command, "EVALSHA", digest, *known), body


if VARIANT.startswith("redis"):
    System: type[base.System] = InRedis
else:
    System = {"sqlite_stock": InStockSQLite, "mariadb": InMariaDB}.get(VARIANT, InDatabase)

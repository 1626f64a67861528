from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from ..tasks import anap, nap, noop
from . import base
from .base import IS_SQLITE, NEW_UUID, VARIANT

JOB, RESULT = "taskq_django_queuedjob", "taskq_django_jobresult"


class System(base.System):
    distributions = ("django", "psycopg", "orjson")
    config = "``taskq_worker -p N`` with 4 threads a process, the default batch; results kept"
    jobs = 20_000
    tables = (JOB, RESULT, "taskq_django_pausedqueue")
    has_bulk = True
    naps = ("threads", "coroutines")
    # A rollback journal, SQLite's default, lets nobody write while another reads.
    scenes = ("history", "future", "paused", *(() if VARIANT == "sqlite_stock" else ("snapshot",)))

    def enqueue_one(self, n: int) -> None:
        noop.enqueue(n)

    def enqueue_bulk(self, first: int, end: int) -> None:
        noop.enqueue_many([(n,) for n in range(first, end)])

    def enqueue_naps(self, count: int, kind: str) -> None:
        (nap if kind == "threads" else anap).enqueue_many([(n,) for n in range(count)])

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        threads = ["-t", "100"] if mode == "threads" else []
        return [[sys.executable, "-m", "django", "taskq_worker", "-v", "0", "-p", str(processes), *threads]]

    def left(self) -> int:
        return self.count(f"{JOB} WHERE status IN ('READY', 'RUNNING') AND queue_name = 'default'")

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
        raw = self.connection.connection
        mark = "?" if IS_SQLITE else "%s"
        sql = (
            f"INSERT INTO {JOB} (id, task_path, backend, queue_name, status, rank, available_at, enqueued_at, payload, "
            f"headers, tries, attempts, crashes) VALUES ({mark}, 'noop', 'default', 'default', 'READY', 0, {mark}, "
            f"{mark}, '[[1],{{}}]', '', 0, 0, 0)"
        )
        now: Any = "2026-01-01 00:00:00.000000" + ("" if IS_SQLITE else "+00:00")
        for _ in range(count):
            id_ = new_id()
            raw.execute(sql, (id_.replace("-", "") if IS_SQLITE else id_, now, now))

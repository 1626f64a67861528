from __future__ import annotations

import os

import procrastinate

from .. import marks
from . import base
from .base import BIN, SKIP

JOBS = "procrastinate_jobs"
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_CONNINFO"]))


@app.task(name="noop")
async def noop(n: int) -> None:
    marks.noop(n)


@app.task(name="anap")
async def anap(n: int) -> None:
    await marks.anap(n)


class System(base.System):
    distributions = ("procrastinate", "psycopg")
    config = "N × ``procrastinate worker --concurrency 10``, coroutines; finished jobs kept"
    jobs = 2000
    tables = (JOBS, "procrastinate_events")
    has_bulk = True
    naps = ("coroutines",)
    scenes = ("history", "future", "snapshot")
    also = ("queues", "producers")

    def connect(self) -> None:
        app.open()

    def migrate(self) -> None:
        app.schema_manager.apply_schema()

    def enqueue_one(self, n: int) -> None:
        noop.defer(n=n)

    def enqueue_bulk(self, first: int, end: int) -> None:
        noop.batch_defer(*({"n": n} for n in range(first, end)))

    def enqueue_in_queues(self, count: int) -> None:
        for name, numbers in self.queues(count):
            noop.configure(queue=name).batch_defer(*({"n": n} for n in numbers))

    def enqueue_naps(self, count: int, kind: str) -> None:
        anap.batch_defer(*({"n": n} for n in range(count)))

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        app_path = "tests.benchmarks.peers.systems.procrastinate.app"
        concurrency = str(100 // processes) if mode == "coroutines" else "10"
        command = [str(BIN / "procrastinate"), "--log-level", "warning", "-a", app_path, "worker", "-c", concurrency]
        return [command] * processes

    def left(self) -> int:
        return self.count(f"{JOBS} WHERE status IN ('todo', 'doing') AND scheduled_at IS NULL")

    def add_history(self, rows: int) -> None:
        self._clone(rows)

    def add_future(self, rows: int) -> None:
        noop.configure(schedule_in={"days": 1}).defer(n=0)
        self._clone(rows)

    def _clone(self, rows: int) -> None:
        self.execute(f"ALTER TABLE {JOBS} DISABLE TRIGGER USER")
        self.clone(JOBS, rows, id=SKIP)
        self.execute(f"ALTER TABLE {JOBS} ENABLE TRIGGER USER")

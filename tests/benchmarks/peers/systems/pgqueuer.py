from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from .. import marks
from . import base
from .base import SKIP

URL = os.environ["BENCH_CONNINFO"]


class System(base.System):
    distributions = ("pgqueuer", "asyncpg", "uvloop")
    config = "N processes, asyncpg, uvloop, batches of 100, coroutines; finished jobs are deleted and logged"
    jobs = 80_000
    tables = ("pgqueuer", "pgqueuer_log", "pgqueuer_statistics")
    has_bulk = True
    naps = ("coroutines",)
    scenes = ("history", "future", "snapshot")
    also = ("long", "producers")

    def connect(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._queries = Queries(AsyncpgDriver(self._run(asyncpg.connect(URL))))

    def migrate(self) -> None:
        self._run(self._queries.install())

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)

    def enqueue_one(self, n: int) -> None:
        self._run(self._queries.enqueue("noop", b"%d" % n))

    def enqueue(self, count: int, first: int = 0) -> None:
        async def all_of_them() -> None:
            for n in range(first, first + count):
                await self._queries.enqueue("noop", b"%d" % n)

        self._run(all_of_them())

    def enqueue_bulk(self, first: int, end: int) -> None:
        self._send("noop", first, end)

    def enqueue_naps(self, count: int, kind: str) -> None:
        self._send("anap", 0, count)

    def _send(self, entrypoint: str, first: int, end: int) -> None:
        count = end - first
        payloads = [b"%d" % n for n in range(first, end)]
        self._run(self._queries.enqueue([entrypoint] * count, payloads, [0] * count))

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        # It wants the limit to be twice the batch.
        batch, limit = (50 // processes, 100 // processes) if mode == "coroutines" else (100, 0)
        return [[sys.executable, "-m", __name__, str(batch), str(limit)]] * processes

    def left(self) -> int:
        return self.count("pgqueuer WHERE execute_after < now() + interval '1 hour'")

    def add_history(self, rows: int) -> None:
        self.clone("pgqueuer_log", rows, id=SKIP)

    def add_future(self, rows: int) -> None:
        self.enqueue_one(0)
        self.clone("pgqueuer", rows, id=SKIP, execute_after="now() + interval '1 day'")
        self.execute("DELETE FROM pgqueuer WHERE execute_after < now()")


async def work(batch: int, limit: int) -> None:
    logging.getLogger("pgqueuer").setLevel(logging.ERROR)
    queue = PgQueuer.from_asyncpg_pool(await asyncpg.create_pool(URL, min_size=2, max_size=6))

    @queue.entrypoint("noop")
    async def noop(job: Any) -> None:
        marks.noop(int(job.payload))

    @queue.entrypoint("anap")
    async def anap(job: Any) -> None:
        await marks.anap(int(job.payload))

    await queue.run(batch_size=batch, max_concurrent_tasks=limit or None)


if __name__ == "__main__":
    import uvloop

    uvloop.run(work(int(sys.argv[1]), int(sys.argv[2])))

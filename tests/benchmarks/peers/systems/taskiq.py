from __future__ import annotations

import asyncio
import sys

from taskiq_redis import RedisStreamBroker

from .. import marks
from . import on_redis

broker = RedisStreamBroker(on_redis.URL)


@broker.task
async def noop(n: int) -> None:
    marks.noop(n)


class System(on_redis.System):
    distributions = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")
    config = "RedisStreamBroker (with acks), ``--workers N --max-async-tasks 100``, an async task, no results"
    jobs = 20_000

    def prepare(self) -> None:
        super().prepare()
        self._loop = asyncio.new_event_loop()

    def clear(self) -> None:
        super().clear()
        self._loop.run_until_complete(broker.startup())  # makes its stream

    def enqueue_one(self, n: int) -> None:
        self._loop.run_until_complete(noop.kiq(n))

    def enqueue(self, count: int, first: int = 0) -> None:
        async def send() -> None:
            for n in range(first, first + count):
                await noop.kiq(n)

        self._loop.run_until_complete(send())

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        command = [sys.executable, "-m", "taskiq", "worker", f"{__name__}:broker", "--workers", str(processes)]
        return [[*command, "--max-async-tasks", "100", "--log-level", "WARNING"]]

    def left(self) -> int:
        (group,) = self.engine.xinfo_groups("taskiq")
        return int((group["lag"] or 0) + group["pending"])

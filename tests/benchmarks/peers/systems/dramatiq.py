from __future__ import annotations

import sys

import dramatiq as library
from dramatiq.brokers.redis import RedisBroker

from .. import marks
from . import on_redis

library.set_broker(RedisBroker(url=on_redis.URL))


@library.actor
def noop(n: int) -> None:
    marks.noop(n)


class System(on_redis.System):
    distributions = ("dramatiq", "redis", "hiredis")
    config = "``--processes N --threads 8`` (its default), no results"
    jobs = 12_000

    def enqueue_one(self, n: int) -> None:
        noop.send(n)

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        command = [sys.executable, "-m", "dramatiq", __name__, "--processes", str(processes), "--threads", "8"]
        return [[*command, "--skip-logging"]]

    def left(self) -> int:
        return int(self.engine.hlen("dramatiq:default.msgs"))

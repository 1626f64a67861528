from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from . import base

URL = os.environ.get("BENCH_REDIS", "")


class System(base.System):
    """Jobs wait in Redis; ``tables`` of the database are those of its results, if it keeps any there."""

    scenes = ()

    @cached_property
    def engine(self) -> Any:
        import redis

        return redis.Redis.from_url(URL)

    def prepare(self) -> None:
        super().prepare()
        self.engine.flushall()

    def clear(self) -> None:
        if self.tables:
            super().clear()
        self.engine.flushall()

    def analyze(self) -> None:
        if self.tables:
            super().analyze()

    def engine_pids(self) -> list[int]:
        return [int(os.environ["BENCH_REDIS_PID"])]

    def server_version(self) -> str:
        engine = f"Redis {self.engine.info('server')['redis_version']}, no persistence"
        return f"{engine}; {super().server_version()}" if self.tables else engine

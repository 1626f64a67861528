from __future__ import annotations

import sys

from .. import vtasks
from . import on_redis


class System(on_redis.System):
    distributions = ("django-vtasks", "django-vcache", "django", "orjson")
    config = "N × ``runworker`` with its 20 at once, no results, no scheduler"
    jobs = 20_000
    has_bulk = True

    def enqueue_one(self, n: int) -> None:
        vtasks.noop.enqueue(n)

    def enqueue_bulk(self, first: int, end: int) -> None:
        vtasks.noop.get_backend().enqueue_many([(vtasks.noop, (n,), {}) for n in range(first, end)])

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        return [[sys.executable, "-m", "django", "runworker", "--id", f"bench-{n}"] for n in range(processes)]

    def left(self) -> int:
        return sum(int(self.engine.llen(key)) for key in self.engine.scan_iter("{vt}:*", _type="list"))

from __future__ import annotations

import sys

import celery as library

from .. import marks
from . import on_redis
from .base import VARIANT

KEEPS = VARIANT == "redis_pg"
RESULT = "django_celery_results_taskresult"

app = library.Celery("bench", broker=on_redis.URL)
app.conf.update(
    result_backend="django-db" if KEEPS else None,
    task_ignore_result=not KEEPS,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
if KEEPS:
    app.conf.CELERY_DB_REUSE_MAX = 1000  # the default closes the connection after every task


@app.task(name="noop")
def noop(n: int) -> None:
    marks.noop(n)


class System(on_redis.System):
    distributions = ("celery", "kombu", "redis", "hiredis", *(("django-celery-results",) if KEEPS else ()))
    config = "prefork, ``-c N``, early ack, prefetch 64; " + (
        "results by django-celery-results, CELERY_DB_REUSE_MAX 1000" if KEEPS else "no results"
    )
    jobs = 1_500 if KEEPS else 6_000
    tables = (RESULT,) if KEEPS else ()
    has_bulk = True
    _sent = 0

    def clear(self) -> None:
        super().clear()
        self._sent = 0

    def enqueue_one(self, n: int) -> None:
        noop.delay(n)
        self._sent += 1

    def enqueue_bulk(self, first: int, end: int) -> None:
        library.group(noop.s(n) for n in range(first, end)).apply_async()
        self._sent += end - first

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
        command = [sys.executable, "-m", "celery", "-A", f"{__name__}:app", "worker", *quiet]
        return [[*command, "-P", "prefork", "-c", str(processes)]]

    def left(self) -> int:
        if KEEPS:
            return self._sent - self.count(f"{RESULT} WHERE status = 'SUCCESS'")
        return int(self.engine.llen("celery") + self.engine.hlen("unacked"))

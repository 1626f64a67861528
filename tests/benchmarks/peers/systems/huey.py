from __future__ import annotations

import os
import sys
from pathlib import Path

import huey as library

from .. import marks, orm
from . import base, on_redis
from .base import VARIANT

if os.environ.get("BENCH_MODE") == "orm":  # in a consumer; it has no need of Django otherwise
    import django

    django.setup()

FILE = Path(os.environ["BENCH_FOLDER"]) / "huey-own.sqlite3"
if VARIANT == "redis":
    huey = library.RedisHuey("bench", url=on_redis.URL, results=False)
else:
    huey = library.SqliteHuey("bench", filename=str(FILE), journal_mode="wal", fsync=False, results=True)


@huey.task()
def noop(n: int) -> int:
    marks.noop(n)
    return 0  # None is not stored


@huey.task()
def nap(n: int) -> int:
    marks.nap(n)
    return 0


@huey.task()
def read_and_write(n: int) -> int:
    orm.read_and_write(n)
    return 0


class Huey:
    jobs = 10_000

    def enqueue_one(self, n: int) -> None:
        noop(n)

    def enqueue_naps(self, count: int, kind: str) -> None:
        for n in range(count):
            nap(n)

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        workers = ["-k", "thread", "-w", "100"] if mode == "threads" else ["-k", "process", "-w", str(processes)]
        path = f"{__name__}.huey"
        return [[sys.executable, "-m", "huey.bin.huey_consumer", path, "-q", *workers]]

    def left(self) -> int:
        return int(huey.storage.queue_size())


class InSQLite(Huey, base.System):
    distributions = ("huey",)
    config = "bare ``huey_consumer -k process -w N``, SqliteHuey with WAL, no fsync; results kept until read"
    naps = ("threads",)
    scenes = ()
    also = ("long", "producers", "orm")
    jobs = 40_000
    waiting = 400_000

    def enqueue_orm(self, count: int) -> None:
        for n in range(count):
            read_and_write(n)

    def clear(self) -> None:
        huey.storage.flush_all()

    def analyze(self) -> None: ...


class InRedis(Huey, on_redis.System):
    distributions = ("huey", "redis", "hiredis")
    config = "bare ``huey_consumer -k process -w N``, RedisHuey (no ack: a process takes its job along), no results"


System = InRedis if VARIANT == "redis" else InSQLite

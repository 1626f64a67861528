from __future__ import annotations

import sys
from datetime import timedelta

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from django.tasks import task
from django.utils import timezone

from .. import marks, orm
from . import base
from .base import NEW_UUID

TABLE = "django_ox_oxtask"


@task
def noop(n: int) -> None:
    marks.noop(n)


@task
def nap(n: int) -> None:
    marks.nap(n)


@task
def read_and_write(n: int) -> None:
    orm.read_and_write(n)


class System(base.System):
    distributions = ("django-ox", "django", "psycopg")
    config = "``ox_worker --processes N``, one task at a time each, its default interval of 1 s; results kept"
    tables = (TABLE,)
    naps = ("threads",)
    scenes = ("history", "future", "snapshot")
    also = ("orm",)

    def enqueue_one(self, n: int) -> None:
        noop.enqueue(n)

    def enqueue_naps(self, count: int, kind: str) -> None:
        for n in range(count):
            nap.enqueue(n)

    def enqueue_orm(self, count: int) -> None:
        for n in range(count):
            read_and_write.enqueue(n)

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        flags = ["--concurrency", str(100 // processes)] if mode == "threads" else []
        return [[sys.executable, "-m", "django", "ox_worker", "-v", "0", "--processes", str(processes), *flags]]

    def left(self) -> int:
        return self.count(f"{TABLE} WHERE status IN ('READY', 'RUNNING') AND run_after IS NULL")

    def add_history(self, rows: int) -> None:
        self.clone(TABLE, rows, id=NEW_UUID)

    def add_future(self, rows: int) -> None:
        noop.using(run_after=timezone.now() + timedelta(days=1)).enqueue(0)
        self.clone(TABLE, rows, id=NEW_UUID)

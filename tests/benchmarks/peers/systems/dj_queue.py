from __future__ import annotations

import sys

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from django.tasks import task

from .. import marks, orm
from . import base
from .base import NEW_UUID

JOBS = "dj_queue_jobs"


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
    distributions = ("dj-queue", "django", "psycopg")
    config = "``dj_queue`` with N worker processes of 3 threads, LISTEN where there is one; results kept"
    tables = (JOBS,)
    has_bulk = True
    naps = ("threads",)
    scenes = ("history", "snapshot")
    also = ("queues", "orm")

    def clear(self) -> None:
        if base.IS_SQLITE:
            noop.get_backend()  # its app is loaded
            from dj_queue.models import Job

            Job.objects.all().delete()
        else:
            super().clear()

    def enqueue_one(self, n: int) -> None:
        noop.enqueue(n)

    def enqueue_bulk(self, first: int, end: int) -> None:
        noop.get_backend().enqueue_all([(noop, [n], {}) for n in range(first, end)])

    def enqueue_in_queues(self, count: int) -> None:
        for name, numbers in self.queues(count):
            there = noop.using(queue_name=name)
            noop.get_backend().enqueue_all([(there, [n], {}) for n in numbers])

    def enqueue_orm(self, count: int) -> None:
        noop.get_backend().enqueue_all([(read_and_write, [n], {}) for n in range(count)])

    def enqueue_naps(self, count: int, kind: str) -> None:
        nap.get_backend().enqueue_all([(nap, [n], {}) for n in range(count)])

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        return [[sys.executable, "-m", "django", "dj_queue", "-v", "0"]]

    def left(self) -> int:
        return self.count(f"{JOBS} WHERE finished_at IS NULL")

    def add_history(self, rows: int) -> None:
        self.clone(JOBS, rows, id=NEW_UUID)

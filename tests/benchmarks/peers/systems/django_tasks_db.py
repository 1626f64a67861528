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

TABLE = "django_tasks_database_dbtaskresult"


@task
def noop(n: int) -> None:
    marks.noop(n)


@task
def read_and_write(n: int) -> None:
    orm.read_and_write(n)


class System(base.System):
    distributions = ("django-tasks-db", "django", "psycopg")
    config = "N × ``db_worker``, one task at a time each, its default interval of 1 s; results kept"
    tables = (TABLE,)
    scenes = ("history", "future", "snapshot")
    also = ("orm",)

    def enqueue_one(self, n: int) -> None:
        noop.enqueue(n)

    def enqueue_orm(self, count: int) -> None:
        for n in range(count):
            read_and_write.enqueue(n)

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        return [[sys.executable, "-m", "django", "db_worker", "-v", "0", "--no-startup-delay"]] * processes

    def left(self) -> int:
        past = "datetime('now', '+1 hour')" if base.IS_SQLITE else "now() + interval '1 hour'"
        # Without run_after it stores a moment in the far future.
        return self.count(
            f"{TABLE} WHERE status IN ('READY', 'RUNNING') AND (run_after < {past} OR run_after > '9000-01-01')"
        )

    def add_history(self, rows: int) -> None:
        self.clone(TABLE, rows, id=NEW_UUID)

    def add_future(self, rows: int) -> None:
        noop.using(run_after=timezone.now() + timedelta(days=1)).enqueue(0)
        self.clone(TABLE, rows, id=NEW_UUID)

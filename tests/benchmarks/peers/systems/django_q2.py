from __future__ import annotations

import sys

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from .. import marks
from . import base
from .base import IS_SQLITE

noop = marks.noop
QUEUE, TASK = "django_q_ormq", "django_q_task"


class System(base.System):
    distributions = ("django-q2", "django", "psycopg")
    config = "``qcluster`` with N workers, ORM broker, bulk 10, poll 0.2 s; results kept"
    tables = (TASK, QUEUE)
    scenes = ("history", "snapshot")

    def enqueue_one(self, n: int) -> None:
        from django_q.tasks import async_task

        async_task(f"{__name__}.noop", n)

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        return [[sys.executable, "-m", "django", "qcluster"]]

    def left(self) -> int:
        return self.count(QUEUE)

    def add_history(self, rows: int) -> None:
        key = "lower(hex(randomblob(16)))" if IS_SQLITE else "md5(random()::text)"
        self.clone(TASK, rows, id=key)

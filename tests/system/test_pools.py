"""A connection pool of the project's (``"pool"`` in OPTIONS): its connections go back between two runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings
from django.db import connection

from taskq_django.models import PausedQueue
from tests.app import tasks
from tests.support.workers import RealWorker
from tests.system.test_crashes import wait_for_end

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has one")


def test_a_pool_may_be_smaller_than_the_pools_of_threads(
    start_worker: Callable[..., RealWorker], settings_with: Callable[..., dict[str, str]]
) -> None:
    pytest.importorskip("psycopg_pool")
    entry = {**settings.DATABASES["default"], "NAME": str(connection.settings_dict["NAME"]), "TEST": {}}
    entry["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 1, "timeout": 60}}
    env = settings_with(DATABASES={"default": entry, "other": {**entry, "OPTIONS": {}}})
    for name in ("a", "b", "c"):
        PausedQueue.objects.create(backend="default", queue_name=name)

    worker = start_worker("-t", "4", env=env).wait_until_ready()
    for _ in range(3):
        jobs = [
            *tasks.is_paused.enqueue_many([("a",)] * 8),
            *tasks.acount.enqueue_many([()] * 8),
            *tasks.interrupt_my_transaction.enqueue_many([("x",)]),
            *tasks.leave_open.enqueue_many([("y", "autocommit off"), ("z", "broken")]),
            tasks.apaused.enqueue(),
        ]
        wait_for_end(worker, *jobs)
        assert [job.return_value for job in jobs[:8]] == [True] * 8, worker.output
        assert [job.return_value for job in jobs[8:16]] == [3] * 8, worker.output
        assert jobs[-1].return_value == ["a", "b", "c"], worker.output
    assert 'DATABASES["default"]["OPTIONS"]["pool"] has 1 connection for a process' in worker.output

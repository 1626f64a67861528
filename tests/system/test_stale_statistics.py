"""InnoDB takes a full queue for an empty one after a crash soon after many jobs were sent: indexes are used anyhow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

from taskq_django.brokers.base import Broker
from taskq_django.compat import task_backends
from taskq_django.jobs import Released, Succeeded
from taskq_django.models import QueuedJob
from tests.app import tasks
from tests.support.servers import Server

pytestmark = pytest.mark.skipif(connection.vendor != "mysql", reason="about the statistics of InnoDB")

JOB = QueuedJob._meta.db_table
JOBS, BATCH = 5_000, 50


def succeed(broker: Broker) -> None:
    claims = broker.claim(["default"], BATCH, "w1")
    assert len(broker.settle([Succeeded(claim, 0.0, 0.0, "3") for claim in claims], "w1")) == BATCH


def put_back(broker: Broker) -> None:
    claims = broker.claim(["default"], BATCH, "w1")
    assert len(broker.settle([Released(claim, began=False) for claim in claims], "w1")) == BATCH


ACTS: dict[str, Callable[[Broker], object]] = {
    "ready queues": lambda broker: broker.ready_queues(),
    "promote": lambda broker: broker.promote(),
    "claim": lambda broker: broker.claim(["default"], BATCH, "w1"),
    "succeed": succeed,
    "put back": put_back,
}


def test_no_statement_of_a_worker_reads_the_whole_queue(server: Server) -> None:
    tasks.add.enqueue_many([(n,) for n in range(JOBS)])
    tasks.add.using(run_after=timedelta(hours=1)).enqueue_many([(n,) for n in range(BATCH)])
    QueuedJob.objects.filter(status="SCHEDULED").update(available_at="2026-01-01T00:00:00Z")
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {JOB} STATS_AUTO_RECALC = 0")
        # What was counted last: a table just made.
        for change in ("table_stats SET n_rows = 0, clustered_index_size = 1", "index_stats SET stat_value = 1"):
            cursor.execute(f"UPDATE mysql.innodb_{change} WHERE database_name = 'taskq' AND table_name = '{JOB}'")
    server.kill()
    connection.close()
    server.start()
    broker: Broker = task_backends["default"].broker  # type: ignore[attr-defined]

    read = {name: rows_read(lambda act=act: act(broker)) for name, act in ACTS.items()}  # type: ignore[misc]

    assert max(read.values()) < JOBS / 2, read
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {JOB} STATS_AUTO_RECALC = DEFAULT")


def rows_read(act: Callable[[], object]) -> int:
    before = handled()
    act()
    return handled() - before


def handled() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())

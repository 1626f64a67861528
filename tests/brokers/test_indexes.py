"""The indexes of the hot table, as the migrations make them on each database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection

from taskq_django.models import QueuedJob
from tests.app import tasks

pytestmark = pytest.mark.django_db(transaction=True)

TABLE = QueuedJob._meta.db_table
PARTIAL = {
    "taskq_queued_claim": ["backend", "queue_name", "rank", "available_at", "id"],
    "taskq_queued_due": ["backend", "available_at", "queue_name"],
    "taskq_queued_running": ["worker_id"],
}
FULL = {
    "taskq_queued_claim": ["backend", "status", "queue_name", "rank", "available_at", "id"],
    "taskq_queued_due": ["backend", "status", "available_at"],
}
NARROW = FULL if connection.vendor == "mysql" else PARTIAL


@pytest.fixture(autouse=True)
def as_they_were() -> Iterator[None]:
    yield
    call_command("migrate", "taskq_django", verbosity=0)


def ours() -> dict[str, list[str]]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, TABLE)
    return {name: each["columns"] for name, each in found.items() if name.startswith("taskq_queued")}


def migrate(name: str) -> None:
    call_command("migrate", "taskq_django", name, verbosity=0)


def test_each_index_is_of_the_rows_of_one_status_where_the_database_can() -> None:
    assert ours() == NARROW


def test_there_and_back_again_with_jobs_that_wait() -> None:
    sent = tasks.add.enqueue_many([(number,) for number in range(20)])
    migrate("0004")
    assert ours() == FULL
    migrate("0005")
    assert ours() == NARROW
    assert QueuedJob.objects.filter(id__in=[each.id for each in sent]).count() == 20


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only there it is several steps")
@pytest.mark.parametrize(
    "left",
    [
        "CREATE INDEX taskq_queued_claim_new ON {table} (backend)",
        "ALTER INDEX taskq_queued_claim RENAME TO taskq_queued_claim_old",
    ],
    ids=["the new one was being made", "the old one was to go"],
)
def test_what_was_cut_off_is_begun_again(left: str) -> None:
    migrate("0004")
    with connection.cursor() as cursor:
        cursor.execute(left.format(table=TABLE))
    migrate("0005")
    assert ours() == PARTIAL

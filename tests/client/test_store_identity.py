"""A store has one id, from its migration on, by which an engine knows it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction

from taskq_django.exceptions import BrokerError
from taskq_django.models import CancelWish, QueuedJob, StoreIdentity
from taskq_django.models.moments import DatabaseNow
from taskq_django.store import identity
from taskq_django.store.identity import store_id
from tests.support.sending import job

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture(autouse=True)
def _unread() -> Iterator[None]:
    identity._ids.clear()
    yield
    identity._ids.clear()


def migrate(*to: str) -> None:
    call_command("migrate", "taskq_django", *to, database="other", verbosity=0)


def test_each_store_has_an_id_of_its_own() -> None:
    assert UUID(store_id("default")) != UUID(store_id("other"))


def test_it_is_read_once(django_assert_num_queries: object) -> None:
    before = store_id("default")
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert store_id("default") == before


def test_to_migrate_again_keeps_it() -> None:
    before = store_id("other")
    migrate()
    identity._ids.clear()
    assert store_id("other") == before


def test_a_store_without_it_says_what_to_run_and_that_helps() -> None:
    StoreIdentity.objects.using("other").delete()
    with pytest.raises(BrokerError, match="migrate taskq_django --database other"):
        store_id("other")

    migrate()

    assert UUID(store_id("other"))


def test_a_flush_makes_another_store_of_it() -> None:
    before = store_id("other")
    call_command("flush", database="other", verbosity=0, interactive=False)
    assert store_id("other") != before


def test_the_migration_goes_back_and_forth_and_rows_stay() -> None:
    waiting = job()
    broker_row = {"id": waiting.id, "task_path": waiting.task_path, "backend": "default", "queue_name": "default"}
    moments = {"available_at": DatabaseNow(), "enqueued_at": DatabaseNow()}
    QueuedJob.objects.using("other").create(**broker_row, **moments, status="READY", rank=0, payload="[[],{}]")
    migrate("0003")
    try:
        with pytest.raises(BrokerError, match="migrate taskq_django --database other"):
            store_id("other")
    finally:
        migrate()

    assert UUID(store_id("other"))
    assert QueuedJob.objects.using("other").get().sender is None


def test_a_reason_is_kept_as_it_was_said() -> None:
    wish = CancelWish.objects.create(job_id=uuid4(), backend="default", reason="später 🐘", asked_at=DatabaseNow())
    wish.refresh_from_db()
    assert wish.reason == "später 🐘"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite only writes down that there is a column more")
def test_the_column_comes_without_writing_a_row() -> None:
    """On a table of any size it takes no time: MariaDB and MySQL refuse what would, where they are told to."""
    other = connections["other"]
    table = QueuedJob._meta.db_table
    column = QueuedJob._meta.get_field("sender").db_type(other)
    with transaction.atomic(using="other"), other.cursor() as cursor:
        if other.vendor == "mysql":
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN another {column} NULL, ALGORITHM=INSTANT")
            cursor.execute(f"ALTER TABLE {table} DROP COLUMN another")
        else:
            cursor.execute("SELECT relfilenode FROM pg_class WHERE relname = %s", [table])
            before = cursor.fetchone()
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN another {column} NULL")
            cursor.execute("SELECT relfilenode FROM pg_class WHERE relname = %s", [table])
            assert cursor.fetchone() == before
            transaction.set_rollback(True, using="other")

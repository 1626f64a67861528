"""A store has one id, from its migration on, by which an engine knows it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, connections, transaction
from pytest_django import Settings

from taskq_django.exceptions import BrokerError
from taskq_django.models import CancelWish, QueuedJob, StoreIdentity, WorkerProcess
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


def ids() -> dict[str, str]:
    """As another process reads them."""
    identity._ids.clear()
    return {database: store_id(database) for database in ("default", "other")}


def work(seen_at: DatabaseNow) -> None:
    """Be a worker of the other store whose last sign of life is of that moment."""
    WorkerProcess.objects.using("other").create(
        id="host/1", name="host", host="host", pid=1, started_at=seen_at, seen_at=seen_at
    )


def test_a_copy_is_given_an_id_of_its_own_and_the_others_keep_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    before = ids()
    call_command("taskq_new_store_id", "--database", "other", "--noinput")
    assert store_id("other") != before["other"]  # in the process that has done it, too
    after = ids()
    assert after["other"] != before["other"]
    assert after["default"] == before["default"]
    assert capsys.readouterr().out == f"other: its store has the id {after['other']} now\n"


def test_without_a_database_it_is_all_where_our_backends_keep_jobs(settings: Settings) -> None:
    backend = "taskq_django.TaskqBackend"
    settings.TASKS = {
        "default": {"BACKEND": backend},
        "far": {"BACKEND": backend, "OPTIONS": {"broker": "database://other"}},
    }
    before = ids()
    call_command("taskq_new_store_id", interactive=False)
    assert not set(ids().values()) & set(before.values())


def test_each_backend_on_redis_is_told_what_to_do_with_its_name(
    capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    pytest.importorskip("redis")
    options = {"broker": "redis://127.0.0.1:1/0"}  # which nobody asks
    settings.TASKS = {
        "default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": options},
        "fast": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": {**options, "name": "shop"}},
        "rows": {"BACKEND": "taskq_django.TaskqBackend"},
    }
    call_command("taskq_new_store_id", "--no-input")
    _, *advice = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in advice] == ["default", "fast"]
    assert "redis-cli DEL 'taskq:{default}:store'" in advice[0]
    assert "redis-cli DEL 'taskq:{shop}:store'" in advice[1]


def test_no_store_changes_beside_a_worker_that_lives_unless_it_is_forced(settings: Settings) -> None:
    far = {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": {"broker": "database://other"}}
    settings.TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend"}, "far": far}
    before = ids()
    work(DatabaseNow())
    with pytest.raises(CommandError, match=r"^other: the worker host gave a sign of life \d+ s ago"):
        call_command("taskq_new_store_id", "--noinput")
    assert ids() == before
    call_command("taskq_new_store_id", "--noinput", "--force")
    assert ids() != before


def test_a_worker_that_has_long_been_silent_stands_in_nobodys_way() -> None:
    before = ids()
    work(DatabaseNow(-3600))
    call_command("taskq_new_store_id", "--database", "other", "--noinput")
    assert ids() != before


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_it_asks_before_it_changes_anything(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, asked = ids(), []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    if answer == "yes":
        call_command("taskq_new_store_id", "--database", "other")
    else:
        with pytest.raises(CommandError, match=r"Nothing was changed\."):
            call_command("taskq_new_store_id", "--database", "other")
    assert "Give other another?" in asked[0]
    assert (ids() == before) is (answer == "no")


def test_without_its_table_it_says_what_to_run() -> None:
    migrate("0003")
    try:
        with pytest.raises(CommandError, match=r"manage\.py migrate"):
            call_command("taskq_new_store_id", "--database", "other", "--noinput")
    finally:
        migrate()


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

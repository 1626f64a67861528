"""Which statements of a service PostgreSQL has prepared, and what else stays as a project has it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.jobs import new_id
from taskq_django.models import QueuedJob
from taskq_django.store.connections import let_go, limit_own_sessions, unlimit_sessions
from taskq_django.store.dialects.prepared import OFTEN
from tests.support.messages import success
from tests.support.sending import job

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL only"),
]


@pytest.fixture
def service() -> Iterator[None]:
    limit_own_sessions(["default"], 30.0)
    yield
    unlimit_sessions()
    let_go(connection)


def prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [statement for (statement,) in cursor.fetchall()]


@pytest.mark.usefixtures("service")
def test_the_statements_of_a_workers_loop_are_prepared_and_those_of_the_orm_are_not() -> None:
    broker = DatabaseBroker("default")
    broker.send([job() for _ in range(3)])
    assert broker.ready_queues() == ["default"]
    claims = broker.claim(["default"], 10, "w1")
    broker.settle([success(claim) for claim in claims], "w1")
    assert list(QueuedJob.objects.filter(status="READY")) == []

    texts = prepared()
    assert [text for text in texts if "SKIP LOCKED" in text]
    assert [text for text in texts if "WITH RECURSIVE" in text]
    assert not [text for text in texts if text.startswith('SELECT "taskq')]


@pytest.mark.usefixtures("service")
def test_what_the_project_does_there_is_bound_by_the_client_as_everywhere() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = %s", ["77s"])  # the server would take no parameter there
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("77s",)


@pytest.mark.usefixtures("service")
def test_a_burst_after_a_quiet_time_is_not_claimed_by_the_plan_of_an_empty_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskq_django.store.dialects.postgresql.PLANS_LAST", 0.0)
    broker = DatabaseBroker("default")
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {QueuedJob._meta.db_table}")
    for _ in range(10):
        broker.send([job()])
        broker.settle([success(claim) for claim in broker.claim(["default"], 10, "w1")], "w1")
    broker.send([job(queue_name="other") for _ in range(5000)])
    broker.send([job()])

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_reset_single_table_counters(%s::regclass)", [QueuedJob._meta.db_table])
    assert len(broker.claim(["default"], 10, "w1")) == 1

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()") if connection.pg_version >= 150000 else None
        cursor.execute("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = %s", [QueuedJob._meta.db_table])
        assert cursor.fetchone()[0] < 5000


def inserts() -> list[str]:
    return [text for text in prepared() if "INSERT INTO" in text]


def test_what_a_project_enqueues_again_and_again_is_prepared_and_nothing_else_of_it_is() -> None:
    let_go(connection)
    broker = DatabaseBroker("default")
    for _ in range(OFTEN - 1):
        broker.send([job()])
    assert inserts() == []
    broker.send([job()])
    assert inserts() != []

    same = new_id()
    with transaction.atomic():
        broker.send([job(id=same)])
        with pytest.raises(IntegrityError), transaction.atomic():
            broker.send([job(id=same)])
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = %s", ["77s"])  # the server would take no parameter there
    assert QueuedJob.objects.count() == OFTEN + 1


def test_each_enqueue_counts_as_one_statement(django_assert_num_queries: Any) -> None:
    let_go(connection)
    broker = DatabaseBroker("default")
    for _ in range(OFTEN + 2):
        with django_assert_num_queries(1):
            broker.send([job()])


def test_where_the_project_says_that_there_is_a_pooler_nothing_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go(connection)
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    broker = DatabaseBroker("default")
    for _ in range(OFTEN + 2):
        broker.send([job()])
    assert inserts() == []


def test_the_sql_of_the_migration_can_be_shown_before_it_is_run() -> None:
    call_command("migrate", "taskq_django", "0004", verbosity=0)
    try:
        shown = io.StringIO()
        call_command("sqlmigrate", "taskq_django", "0005", stdout=shown)
        assert "CREATE INDEX CONCURRENTLY" in shown.getvalue()
        assert "RENAME TO" in shown.getvalue()
    finally:
        call_command("migrate", "taskq_django", verbosity=0)

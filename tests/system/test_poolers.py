"""A pooler in transaction mode hands each session of the server to everybody: a worker leaves nothing on one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from taskq_django import Result
from taskq_django.models import JobResult, Schedule, ScheduleRun
from taskq_django.states import State
from taskq_django.store.dialects.prepared import OFTEN, execute_often
from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.poolers import PgBouncer
from tests.support.workers import RealWorker, wait_for
from tests.system.test_crashes import wait_for_end

Start = Callable[..., RealWorker]
Env = dict[str, str]

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="about poolers of PostgreSQL")

# Two, so that a worker's next transaction is seldom in the session of its last.
SESSIONS = 2
# What a pooler itself sets for each of its clients.
OF_CLIENTS = {"application_name", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone"}
LEFT_BEHIND = {
    "settings": "SELECT array_agg(name || ' = ' || setting) FROM pg_settings WHERE source = 'session' "
    f"AND name NOT IN ({', '.join(repr(name) for name in sorted(OF_CLIENTS | {'standard_conforming_strings'}))})",
    "channels": "SELECT array_agg(name) FROM pg_listening_channels() AS name",
    "statements": "SELECT array_agg(name) FROM pg_prepared_statements",
    "locks": "SELECT array_agg(objid::text) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "tables": "SELECT array_agg(relname::text) FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
}


@pytest.fixture
def pooler(transactional_db: None) -> Iterator[PgBouncer]:
    try:
        pooler = PgBouncer(connection.settings_dict, sessions=SESSIONS)
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield pooler
    pooler.close()


@pytest.fixture
def behind(pooler: PgBouncer, settings_with: Callable[..., Env]) -> Env:
    """The environment of hasty workers, and beats, behind it."""
    entry = {**settings.DATABASES["default"], "NAME": connection.settings_dict["NAME"], "TEST": {}, **pooler.place()}
    hasty = {"WORKER": {"HEARTBEAT": 0.2, "LEASE": 5.0, "MAINTENANCE": 0.1}, "BEAT": {"MAX_SLEEP": 0.2}}
    return settings_with(DATABASES={"default": entry, "other": entry}, TASKQ=hasty)


@pytest.fixture
def web(pooler: PgBouncer) -> Iterator[list[Any]]:
    """Connections of a project's own through the same pooler."""
    made = [connection.copy() for _ in range(SESSIONS)]
    for each in made:
        each.settings_dict = {**connection.settings_dict, **pooler.place()}
    yield made
    for each in made:
        each.close()


def answer(asked: Any, sql: str) -> Any:
    with asked.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def left_behind(web: list[Any]) -> dict[str, Any]:
    """What is on any session: each of these connections holds one of them meanwhile."""
    found: dict[str, Any] = {}
    for each in web:
        each.set_autocommit(False)
    pids = {answer(each, "SELECT pg_backend_pid()") for each in web}
    assert len(pids) == SESSIONS
    for each in web:
        found |= {what: left for what, sql in LEFT_BEHIND.items() if (left := answer(each, sql))}
    for each in web:
        each.rollback()
        each.set_autocommit(True)
    return found


def test_services_leave_nothing_on_the_sessions_that_a_pooler_hands_to_everybody(
    start_worker: Start, behind: Env, web: list[Any], ledger: Ledger
) -> None:
    Schedule(name="often", task_path=tasks.add.module_path, args=[1], kind="interval", spec="1s").save()
    worker = start_worker("-B", "-p", "2", env=behind).wait_until_ready()
    jobs: list[Result[Any]] = [tasks.add.enqueue(1), tasks.explode.enqueue(), tasks.flaky.enqueue(2)]
    jobs += [tasks.aadd.enqueue(1), tasks.add.using(priority=5).enqueue(2)]
    running = tasks.wait_for_cancel.enqueue()
    held = tasks.ledgered.enqueue(str(ledger.path), 30.0)
    wait_for(ledger.running, what=lambda: worker.output)
    running.cancel()
    wait_for_end(worker, *jobs, running)
    wait_for(lambda: ScheduleRun.objects.exists(), what=lambda: worker.output)
    assert left_behind(web) == {}, "beside services that live"

    os.kill(worker.children()[0], signal.SIGKILL)  # it is replaced, and its jobs are rescued
    wait_for(lambda: "rescued" in worker.output or "died" in worker.output, what=lambda: worker.output)
    held.cancel()
    worker.send(signal.SIGTERM)
    worker.wait()
    assert left_behind(web) == {}, "after they have ended"


def test_what_a_project_enqueues_again_and_again_is_prepared_on_no_session_of_others(web: list[Any]) -> None:
    asked = web[0]
    del asked.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]  # the project has not told us
    for number in range(2 * OFTEN):
        with asked.cursor() as cursor:
            execute_often(cursor, "SELECT %s::int", [number])
            assert cursor.fetchone() == (number,)
    assert left_behind(web) == {}


@pytest.mark.parametrize("services", [["-p", "1"], ["-p", "0"], ["-p", "1", "-B"]], ids=["worker", "inline", "beat"])
def test_a_projects_statement_behind_the_same_pooler_waits_as_long_as_the_project_wants(
    services: list[str], start_worker: Start, behind: Env, web: list[Any]
) -> None:
    worker = start_worker(*services, env=behind).wait_until_ready()
    wait_for_end(worker, tasks.add.enqueue(1), tasks.explode.enqueue())
    job = str(JobResult.objects.first().id)  # type: ignore[union-attr]
    sql = f"UPDATE taskq_django_jobresult SET message = 'seen' WHERE id = '{job}' AND pg_sleep(0) IS NOT NULL"
    with transaction.atomic():
        JobResult.objects.filter(id=job).update(message="locked")
        failed: list[Exception] = []

        def update(each: Any) -> None:
            try:
                with each.cursor() as cursor:
                    cursor.execute(sql)
            except Exception as error:
                failed.append(error)

        web[0].inc_thread_sharing()
        waiting = Thread(target=update, args=[web[0]])
        waiting.start()
        waiting.join(1.5)  # a worker itself waits for half a second
        assert waiting.is_alive(), failed
    waiting.join()
    web[0].dec_thread_sharing()
    assert failed == []


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_behind_a_pooler_looks_by_itself_as_one_on_a_server_that_cannot_wake_it(
    processes: str, start_worker: Start, behind: Env
) -> None:
    worker = start_worker("-p", processes, env=behind).wait_until_ready()
    wait_for_end(worker, tasks.add.enqueue(1))
    waits = []
    for number in range(8):
        Event().wait(0.6)  # it is idle for longer than it is attentive after work
        job = tasks.add.using(priority=number).enqueue(number)
        job.get(timeout=60)
        assert job.started_at is not None
        assert job.enqueued_at is not None
        waits.append((job.started_at - job.enqueued_at).total_seconds())
    # What else a machine does only makes it longer. One that waits to be woken looks again after a second.
    assert sorted(waits)[1] < 0.25, waits
    assert {row.status for row in JobResult.objects.all()} == {State.SUCCESSFUL}

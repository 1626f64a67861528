"""A clock that is put forward or back under running workers: nobody who lives is accused, who dies is."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, connections

from taskq_django.models import JobResult, WorkerProcess
from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.workers import ROOT, RealWorker, wait_for
from tests.system.test_crashes import wait_for_end

Start = Callable[..., RealWorker]
Step = Callable[[float], None]

STEPS = pytest.mark.parametrize("seconds", [3600.0, -3600.0, 86_400.0, -86_400.0, 60.0, -60.0, 1.0, -1.0])
HASTY = {"WORKER": {"HEARTBEAT": 0.3, "LEASE": 2.0, "MAINTENANCE": 0.2}}
LEASE = 2.0


@pytest.fixture
def step_of_host(tmp_path: Path) -> tuple[dict[str, str], Step]:
    """The environment of services whose own clock steps when it is told to; for SQLite it is the database's as well."""
    shift = tmp_path / "shift"
    shift.write_text("0")
    shutil.copy(ROOT / "tests/support/shifted_clock.py", tmp_path / "sitecustomize.py")

    def step(seconds: float) -> None:
        (tmp_path / "next").write_text(str(seconds))
        (tmp_path / "next").replace(shift)

    return {"TASKQ_TEST_SHIFT": str(shift)}, step


@pytest.fixture
def stepping(
    step_of_host: tuple[dict[str, str], Step], settings_with: Callable[..., dict[str, str]], transactional_db: None
) -> Iterator[tuple[dict[str, str], Step]]:
    """The environment of workers whose database has a clock that steps when it is told to."""
    if connection.vendor == "sqlite":
        env, step = step_of_host
        yield {**settings_with(TASKQ=HASTY), **env}, step
        return
    if connection.vendor != "postgresql":
        pytest.skip("a server with one clock for all: tests/worker/test_lease.py")
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA stepped")
        cursor.execute("CREATE TABLE stepped.clock AS SELECT interval '0 s' AS by")
        cursor.execute(
            "CREATE FUNCTION stepped.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS "
            "'SELECT pg_catalog.statement_timestamp() + (SELECT by FROM stepped.clock)'"
        )

    def step(seconds: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE stepped.clock SET by = %s * interval '1 s'", [seconds])

    entry = dict(settings.DATABASES["default"])
    # Asked before the server's own functions.
    entry["OPTIONS"] = {**entry.get("OPTIONS", {}), "options": "-c search_path=stepped,pg_catalog,public"}
    entry["NAME"] = connections["default"].settings_dict["NAME"]
    yield settings_with(DATABASES={"default": entry}, TASKQ=HASTY), step
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA stepped CASCADE")


@STEPS
def test_a_step_of_the_databases_clock_begins_no_job_again(
    start_worker: Start, ledger: Ledger, stepping: tuple[dict[str, str], Step], seconds: float
) -> None:
    env, step = stepping
    workers = [start_worker("-t", "3", env=env).wait_until_ready() for _ in range(2)]
    wait_for(lambda: WorkerProcess.objects.filter(supervisor=None).count() == 2)
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 3 * LEASE)] * 6)
    wait_for(lambda: len(ledger.running()) == 6, what=lambda: workers[0].output)
    step(seconds)
    wait_for_end(workers[0], *jobs)
    assert ledger.started() == 6, "\n".join(worker.output for worker in workers)
    assert set(JobResult.objects.values_list("status", "attempts", "crashes")) == {("SUCCESSFUL", 1, 0)}
    for worker in workers:
        assert "counts as lost" not in worker.output
        assert "under a new id" not in worker.output


@STEPS
def test_who_dies_about_a_step_is_made_good_within_a_lease_of_it(
    start_worker: Start, ledger: Ledger, stepping: tuple[dict[str, str], Step], seconds: float
) -> None:
    env, step = stepping
    killed = start_worker("-t", "2", env=env).wait_until_ready()
    wait_for(killed.children)
    other = start_worker("-t", "2", "-X", "default", env=env).wait_until_ready()  # looks after the dead only
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 1.0)] * 2)
    wait_for(lambda: len(ledger.running()) == 2, what=lambda: killed.output)
    killed_at = time.monotonic()
    killed.send_to_group(signal.SIGKILL)
    step(seconds)
    third = start_worker(env=env).wait_until_ready()
    wait_for_end(third, *jobs)
    assert not ledger.lost({job.id for job in jobs})
    assert max(ledger.recovery(killed_at)) < 15, other.output


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_worker_whose_host_has_a_wrong_clock_accuses_nobody_and_is_not_accused(
    start_worker: Start,
    ledger: Ledger,
    hasty: dict[str, str],
    step_of_host: tuple[dict[str, str], Step],
    seconds: float,
) -> None:
    env, step = step_of_host
    path = os.pathsep.join([env["TASKQ_TEST_SHIFT"].removesuffix("/shift"), str(ROOT)])
    right = start_worker("-t", "2", env=hasty).wait_until_ready()
    wrong = start_worker("-t", "2", env={**hasty, **env, "PYTHONPATH": path}).wait_until_ready()
    wait_for(lambda: WorkerProcess.objects.filter(supervisor=None).count() == 2)
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 3.0)] * 4)
    wait_for(lambda: len(ledger.running()) == 4, what=lambda: wrong.output)
    step(seconds)
    wait_for_end(right, *jobs)
    assert ledger.started() == 4, f"{right.output}\n{wrong.output}"
    assert "counts as lost" not in right.output + wrong.output

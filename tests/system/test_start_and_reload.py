"""How a worker starts, shows what it does, and takes new code in."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import ProgrammingError, connection, connections

from taskq_django.compat import task_backends
from taskq_django.models import PausedQueue, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.states import State
from taskq_django.worker import banner, stacks
from taskq_django.worker.lease import Lease
from taskq_django.worker.options import WorkerOptions
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.workers import ROOT, RealWorker, wait_for

Start = Callable[..., RealWorker]

OLD = "from taskq_django import task\n\n@task\ndef version() -> str:\n    return 'old'\n"
SLOW = """
@task
def slow(path: str) -> str:
    import time
    open(path, "a").write("begins")
    time.sleep(2)
    return "slow"
"""


def rows(name: str, **chosen: Any) -> list[str]:
    """What the banner of a worker with these options would say under this name."""
    options = WorkerOptions(name="a", backends=("default",), **chosen)
    brokers = {"default": task_backends["default"].broker}  # type: ignore[attr-defined]
    return [text for row, text in banner.notices(options, brokers) if row == name]


def test_a_worker_waits_for_its_tables(start_worker: Start, tmp_path: Path) -> None:
    env = {"TASKQ_TEST_DB": "sqlite", "TASKQ_TEST_NAME": str(tmp_path / "late.sqlite3")}
    worker = start_worker("--burst", env=env)
    wait_for(lambda: "Waiting for" in worker.output, what=lambda: worker.output)
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "-v", "0"],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **env},
        cwd=ROOT,
        check=True,
    )
    assert worker.wait() == 0, worker.output
    assert worker.output.count("Waiting for") == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_may_not_read_the_migrations_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object) -> None:
        raise ProgrammingError("permission denied for table django_migrations")

    monkeypatch.setattr("django.db.migrations.recorder.MigrationRecorder.applied_migrations", refuse)
    monkeypatch.setattr(logging.getLogger("taskq_django"), "propagate", True)
    result = tasks.add.enqueue(1)
    call_command("taskq_worker", processes=0, burst=True, verbosity=0)
    assert result.get() == 3
    assert "cannot be read: permission denied for table django_migrations" in caplog.text


@pytest.mark.django_db(databases=["default", "other"], transaction=True)  # the checks at a worker's start connect
def test_the_banner_names_queues_that_nobody_serves(start_worker: Start) -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    tasks.add.using(queue_name="reports").enqueue(1)
    other = start_worker("-Q", "reports,default").wait_until_ready()
    wait_for(WorkerProcess.objects.filter(queues="default,reports").exists, what=lambda: other.output)
    worker = start_worker("-Q", "default").wait_until_ready()
    assert "System checks were left out" not in worker.output
    assert "unserved     default/mail (1 job): no live worker serves it" in worker.output
    assert "default/reports" not in worker.output
    assert other.process.poll() is None


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server with a limit")
def test_the_banner_warns_of_too_many_connections() -> None:
    assert rows("connections", processes=1, threads=4) == []
    (text,) = rows("connections", processes=100, threads=10)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_connections" if connection.vendor == "mysql" else "SHOW max_connections")
        allowed = int(cursor.fetchone()[0]) - (3 if connection.vendor == "postgresql" else 0)  # its superuser's
    assert f'may open 1200 connections to DATABASES["default"], which allows {allowed}' in text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("pool", "most"),
    [(True, 4), ({}, None), (False, None), ({"min_size": 2}, 2), ({"max_size": 1}, 1), ({"max_size": 6}, None)],
)
def test_the_banner_warns_of_a_pool_that_is_too_small(
    pool: Any, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["other"], "OPTIONS", {"pool": pool})
    said = rows("connections", processes=1, threads=4)
    assert len(said) == bool(most)
    assert not most or f'DATABASES["other"]["OPTIONS"]["pool"] has {most} connection' in said[0]
    assert bool(rows("connections", processes=1, threads=1)) is (most == 1)


@pytest.mark.django_db
def test_an_unserved_queue_is_counted_no_further_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banner, "COUNTED", 2)
    for queue, count in (("few", 2), ("many", 3), ("late", 1)):
        tasks.add.using(queue_name=queue).enqueue_many([(n,) for n in range(count)])
    tasks.add.using(queue_name="late", run_after=timedelta(hours=1)).enqueue(1)

    assert rows("unserved", queues=("default",)) == [
        "default/few (2 jobs): no live worker serves it",
        "default/late (2 jobs): no live worker serves it",
        "default/many (more than 2 jobs): no live worker serves it",
    ]


@pytest.mark.django_db
def test_an_excluded_queue_is_unserved_until_another_worker_lives() -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    lease = Lease("other", "default", every=10, lasts=30, described={"backends": "default"})

    assert rows("unserved", exclude_queues=("mail",)) == ["default/mail (1 job): no live worker serves it"]
    lease.register("other/1")
    assert rows("unserved", exclude_queues=("mail",)) == []
    WorkerProcess.objects.update(seen_at=DatabaseNow(-31))
    assert rows("unserved", exclude_queues=("mail",)) == ["default/mail (1 job): no live worker serves it"]
    WorkerProcess.objects.update(seen_at=DatabaseNow(), excluded="mail,more")
    assert rows("unserved", exclude_queues=("mail",)) == ["default/mail (1 job): no live worker serves it"]


@pytest.mark.django_db
def test_many_unserved_queues_are_not_all_listed() -> None:
    for number in range(banner.UNSERVED_SHOWN + 2):
        tasks.add.using(queue_name=f"queue{number}").enqueue(1)

    shown = rows("unserved", queues=("default",))
    assert len(shown) == banner.UNSERVED_SHOWN + 1
    assert shown[-1] == "and more: see manage.py taskq_status"


@pytest.mark.django_db
def test_a_paused_queue_is_not_unserved_where_a_worker_serves_it() -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    PausedQueue.objects.create(backend="default", queue_name="mail")
    assert rows("unserved") == []


@pytest.mark.processes
def test_usr1_shows_what_every_thread_does_and_for_which_job(start_worker: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    gate = Gate(tmp_path / "gate")
    job = tasks.gated_note.enqueue(str(ledger), "a", str(gate))
    worker = start_worker().wait_until_ready()
    wait_for(ledger.exists)
    worker.send(signal.SIGUSR1)
    wait_for(lambda: "Stacks of process" in worker.output, what=lambda: worker.output)
    wait_for(lambda: f"tests.app.tasks.gated_note[{job.id}]" in worker.output, what=lambda: worker.output)
    assert "in gated_note" in worker.output
    gate.open()
    assert job.get(timeout=60) == "a"


@pytest.mark.processes
@pytest.mark.parametrize("processes", ["0", "1"])
def test_usr1_shows_where_a_coroutine_waits(start_worker: Start, processes: str) -> None:
    job = tasks.anap.enqueue(60)
    worker = start_worker("-p", processes, "--grace", "0").wait_until_ready()
    wait_for(lambda: (job.refresh(), job.state is State.RUNNING)[1], what=lambda: worker.output)

    def awaited() -> bool:
        """Asked again until the job, which is claimed, has come to that line."""
        worker.send(signal.SIGUSR1)
        _, _, shown = worker.output.partition(f"--- coroutine  tests.app.tasks.anap[{job.id}]")
        return "in anap" in shown and "await asyncio.sleep(seconds)" in shown

    wait_for(awaited, what=lambda: worker.output)


def test_stacks_name_threads_and_jobs() -> None:
    shown = stacks.dump({1: "no such thread"})
    assert "--- MainThread" in shown
    assert "test_stacks_name_threads_and_jobs" in shown


@pytest.mark.processes
def test_changed_sources_are_loaded_and_nothing_is_lost(start_worker: Start, tmp_path: Path) -> None:
    app = tmp_path / "shop"
    app.mkdir()
    (app / "__init__.py").touch()
    code = app / "tasks.py"
    code.write_text(OLD + SLOW)
    (tmp_path / "shop_settings.py").write_text(
        "from tests.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'shop']\n"
    )
    env = {"DJANGO_SETTINGS_MODULE": "shop_settings", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    def enqueue(call: str) -> str:
        script = f"from shop.tasks import slow, version; print({call}.id)"
        return subprocess.run(
            [sys.executable, "-m", "django", "shell", "-v", "0", "-c", script],
            env={
                **os.environ,
                "TASKQ_TEST_NAME": str(connection.settings_dict["NAME"]),
                **env,
            },
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def ended(id_: str) -> str | None:
        result = task_backends["default"].get_results([id_])[0]  # type: ignore[attr-defined]
        return result.return_value if result.state.is_final else None

    worker = start_worker("--reload", env=env).wait_until_ready()
    pid = worker.process.pid
    running = enqueue(f"slow.enqueue({str(tmp_path / 'began')!r})")
    wait_for((tmp_path / "began").exists, what=lambda: worker.output)

    code.write_text("def broken(:\n")
    wait_for(lambda: "cannot be loaded" in worker.output, what=lambda: worker.output)
    assert "SyntaxError" in worker.output
    code.write_text(OLD.replace("'old'", "'new'") + SLOW)
    wait_for(lambda: worker.output.count("Ready") == 2, what=lambda: worker.output)

    assert ended(running) == "slow"
    fresh = enqueue("version.enqueue()")
    wait_for(lambda: ended(fresh), what=lambda: worker.output)
    assert (ended(fresh), worker.process.pid) == ("new", pid)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output


@pytest.mark.processes
def test_a_stop_while_it_reloads_is_a_stop(start_worker: Start, tmp_path: Path) -> None:
    app = tmp_path / "market"
    app.mkdir()
    (app / "__init__.py").touch()
    (tmp_path / "market_settings.py").write_text(
        "from tests.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'market']\n"
    )
    # --pythonpath: the trial of the new code must look there too.
    env = {"DJANGO_SETTINGS_MODULE": "market_settings"}
    gate = Gate(tmp_path / "gate")
    job = tasks.gated_note.enqueue(str(tmp_path / "ledger"), "a", str(gate))
    worker = start_worker("--reload", "--pythonpath", str(tmp_path), env=env).wait_until_ready()
    wait_for((tmp_path / "ledger").exists, what=lambda: worker.output)

    (app / "__init__.py").write_text("x = 2\n")
    wait_for(lambda: "starting anew" in worker.output, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    gate.open()

    assert worker.wait() == 0, worker.output
    assert worker.output.count("Ready") == 1
    assert job.get(timeout=1) == "a"


@pytest.mark.processes
def test_a_save_that_breaks_the_code_while_what_runs_ends_leaves_the_old_code_at_work(
    start_worker: Start, tmp_path: Path
) -> None:
    app = tmp_path / "bazaar"
    app.mkdir()
    code = app / "__init__.py"
    code.touch()
    (tmp_path / "bazaar_settings.py").write_text(
        "from tests.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'bazaar']\n"
    )
    env = {"DJANGO_SETTINGS_MODULE": "bazaar_settings"}
    gate = Gate(tmp_path / "gate")
    running = tasks.gated_note.enqueue(str(tmp_path / "ledger"), "a", str(gate))
    worker = start_worker("--reload", "--pythonpath", str(tmp_path), env=env).wait_until_ready()
    wait_for((tmp_path / "ledger").exists, what=lambda: worker.output)

    code.write_text("x = 2\n")
    wait_for(lambda: "starting anew" in worker.output, what=lambda: worker.output)
    code.write_text("def broken(:\n")
    wait_for(lambda: "cannot be loaded" in worker.output, what=lambda: worker.output)
    gate.open()
    assert tasks.add.enqueue(1).get(timeout=60) == 3
    assert running.get(timeout=60) == "a"
    assert worker.output.count("Ready") == 1
    code.write_text("x = 3\n")
    wait_for(lambda: worker.output.count("Ready") == 2, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_a_service_refuses_a_database_that_nobody_commits(
    command: str, start_worker: Start, start_beat: Start, settings_with: Callable[..., dict[str, str]]
) -> None:
    entry = {**settings.DATABASES["default"], "NAME": str(connection.settings_dict["NAME"]), "TEST": {}}
    entry["AUTOCOMMIT"] = False
    env = settings_with(DATABASES={"default": entry, "other": {**entry, "AUTOCOMMIT": True}})
    service = start_worker(env=env) if command == "worker" else start_beat(env=env)
    assert service.wait() == 1, service.output
    assert "taskq_django.E018" in service.output
    assert "AUTOCOMMIT = False" in service.output
    assert "Ready" not in service.output

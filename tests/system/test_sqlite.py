"""An SQLite file is shared: a worker under load must not fail the transactions of the project that it works for."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from tests.support.workers import ROOT, RealWorker

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite only")

Start = Callable[..., RealWorker]
JOBS, WRITES = 3000, 80
MET = 6  # visits beside the worker, at least
WAL = '{"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}'
WAL_ALONE = '{"init_command": "PRAGMA journal_mode=WAL;"}'


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a project on an SQLite file of its own, with these OPTIONS."""
    (tmp_path / "project_settings.py").write_text(
        "from tests.settings import *\n"
        f"DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': {str(tmp_path / 'db')!r}, "
        f"'OPTIONS': {request.param}}}}}\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    env = {"DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": paths, "PROJECT_DATABASE": str(tmp_path / "db")}
    in_project(env, "migrate", "-v", "0")
    return env


def visit_beside(web: sqlite3.Connection, begin: str, jobs: int, enqueue: Callable[[], None]) -> tuple[int, int, int]:
    """Do what a web process does (read, think, write) until a worker has run all jobs, and has met some visits.

    ``jobs``: how many there are; ``enqueue`` sends as many more. Returns how many jobs there were, how many visits met
    the worker, and how many of these failed. sqlite3 waits 5 seconds for a lock, as Django does by default.
    """
    left, met, failed = jobs, 0, 0
    total = jobs
    while left or met < MET:
        if not left:
            enqueue()  # a busy machine gave the visitor no turn
            total += jobs
        time.sleep(0.002)  # between two requests
        try:
            web.execute(begin)
            left = web.execute("SELECT count(*) FROM taskq_django_queuedjob").fetchone()[0]
            web.execute("INSERT INTO visits VALUES (1)")
            web.execute("COMMIT")
        except sqlite3.OperationalError:
            web.execute("ROLLBACK")
            failed += 1
        met += 0 < left < jobs
    return total, met, failed


def in_project(env: dict[str, str], *command: str) -> None:
    subprocess.run([sys.executable, "-m", "django", *command], env={**os.environ, **env}, check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("project", "begin"),
    [("{}", "BEGIN"), (WAL, "BEGIN IMMEDIATE")],
    indirect=["project"],
    ids=["stock", "wal"],
)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_projects_transactions_do_not_fail_beside_a_busy_worker(
    project: dict[str, str], begin: str, processes: str, start_worker: Start
) -> None:
    def enqueue() -> None:
        code = f"from tests.app.tasks import add; add.enqueue_many([(n,) for n in range({JOBS})])"
        in_project(project, "shell", "-v", "0", "-c", code)

    enqueue()
    with closing(sqlite3.connect(project["PROJECT_DATABASE"], isolation_level=None)) as web:
        web.execute("CREATE TABLE visits (count int)")
        start_worker("-p", processes, env=project)
        total, met, failed = visit_beside(web, begin, JOBS, enqueue)
        ends = web.execute("SELECT status, count(*) FROM taskq_django_jobresult GROUP BY 1").fetchall()
    assert ends == [("SUCCESSFUL", total)]
    assert failed == 0, f"of {met}"


@pytest.mark.parametrize(
    ("project", "begin", "web_may_fail"),
    # On a WAL without IMMEDIATE nobody can spare the web process; but all tasks can succeed.
    [("{}", "BEGIN", False), (WAL_ALONE, "BEGIN", True)],
    indirect=["project"],
    ids=["stock", "wal alone"],
)
@pytest.mark.parametrize("task", ["write", "read_and_write", "awrite", "write_in_many_ways"])
def test_tasks_that_write_fail_neither_each_other_nor_the_project(
    project: dict[str, str], begin: str, web_may_fail: bool, task: str, start_worker: Start
) -> None:
    def enqueue() -> None:
        names = f"[(str(uuid4()),) for _ in range({WRITES})]"
        code = f"from uuid import uuid4; from tests.app.writing import {task} as t; t.enqueue_many({names})"
        in_project(project, "shell", "-v", "0", "-c", code)

    enqueue()
    with closing(sqlite3.connect(project["PROJECT_DATABASE"], isolation_level=None)) as web:
        web.execute("CREATE TABLE visits (count int)")
        worker = start_worker(env=project)
        total, met, failed = visit_beside(web, begin, WRITES, enqueue)
        ends = web.execute("SELECT status, attempts, count(*) FROM taskq_django_jobresult GROUP BY 1, 2").fetchall()
        written = web.execute("SELECT count(*) FROM taskq_django_pausedqueue WHERE backend = 'other'").fetchone()
    assert (ends, written) == ([("SUCCESSFUL", 1, total)], (total,)), worker.output
    assert failed == 0 or web_may_fail, f"{failed} of {met}"

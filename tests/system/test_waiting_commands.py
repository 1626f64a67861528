"""A script that enqueues a job and waits for it, with a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from django.db import connections

from tests.support.workers import ROOT, RealWorker, wait_for

pytestmark = pytest.mark.processes

Start = Callable[..., RealWorker]


@pytest.fixture(params=["database", "redis"])
def env(request: pytest.FixtureRequest, settings_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    return request.getfixturevalue("on_redis") if request.param == "redis" else settings_with()


def enqueue(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    names = {"TASKQ_TEST_NAME": "default", "TASKQ_TEST_OTHER_NAME": "other"}
    there = {key: str(connections[alias].settings_dict["NAME"]) for key, alias in names.items()}
    return subprocess.run(
        # Without Django's checks, which ask each MariaDB in DATABASES: of the second one there may be no test database.
        [sys.executable, "-m", "django", "taskq_enqueue", "--skip-checks", *arguments],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **there, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_exit_code_says_what_became_of_the_job(start_worker: Start, env: dict[str, str]) -> None:
    worker = start_worker(env=env).wait_until_ready()

    done = enqueue(env, "tests.app.tasks.add", "1", "y=5", "--wait")
    assert (done.returncode, done.stderr) == (0, ""), worker.output
    id_, value = done.stdout.splitlines()
    wait_for(lambda: f"id={id_}" in worker.output)  # it is written after the end is stored
    assert json.loads(value) == 6

    failed = enqueue(env, "tests.app.tasks.explode", "--wait")
    assert failed.returncode == 1
    assert "ended as FAILED: KeyError: 'missing'" in failed.stderr
    assert "Traceback" not in failed.stderr

    late = enqueue(env, "tests.app.tasks.anap", "seconds=30", "--wait", "--timeout", "0.5")
    assert late.returncode == 3
    assert "has not ended after 0.5 s" in late.stderr

    assert enqueue(env, "tests.app.tasks.add", "--what").returncode == 2

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.workers import ROOT, RealWorker, wait_for

collect_ignore = ["celery_app.py", "celery_client.py"]


def missing(what: str) -> None:
    """This part is left out, and the summary says so; where Celery must be there it fails."""
    if os.environ.get("CI") and os.environ.get("TASKQ_TEST_CELERY"):
        pytest.fail(what)
    pytest.skip(f"NOT TESTED BESIDE A REAL CELERY: {what}")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Any]:
    try:
        import celery  # noqa: F401

        from tests.support.redis_servers import Redis, running

        server = Redis()
    except ImportError as error:
        missing(f"{error.name} is not installed (dependency group celery, extra redis)")
    except LookupError as error:
        missing(str(error))
    with running(server):
        yield server


@pytest.fixture
def server(redis_server: Any) -> Any:
    """Empty."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server


def environment(broker: str, runs: Path) -> dict[str, str]:
    """Of the Celery app. Without our settings, for it would begin to look after a project of Django."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")}
    return {**kept, "TASKQ_TEST_CELERY_BROKER": broker, "TASKQ_TEST_CELERY_RUNS": str(runs)}


class CeleryWorker:
    """``celery worker`` as a user starts it."""

    def __init__(self, broker: str, folder: Path, *queues: str) -> None:
        self._runs, self._log = folder / "runs", folder / "celery.log"
        flags = ["--pool=solo", "--loglevel=INFO", "--without-gossip", "--without-mingle", "-Q", ",".join(queues)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tests.interop.celery_app", "worker", *flags],
                cwd=ROOT,
                env=environment(broker, self._runs),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._runs.read_text().splitlines()] if self._runs.exists() else []

    def wait_until_ready(self) -> CeleryWorker:
        wait_for(lambda: " ready." in self.output or self.is_dead, what=lambda: self.output, timeout=60)
        return self

    def wait_for_runs(self, count: int, timeout: float = 60) -> list[dict[str, Any]]:
        wait_for(lambda: len(self.runs) >= count, what=lambda: f"{self.runs}\n{self.output}", timeout=timeout)
        return self.runs

    @property
    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        if not self.is_dead:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def send(server: Any, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """``send_task`` of the Celery app, in a process of its own; returns the id."""
    client = subprocess.Popen(
        [sys.executable, "-m", "tests.interop.celery_client"],
        cwd=ROOT,
        env=environment(server.url, tmp_path / "runs"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def send(task: str, *args: Any, **options: Any) -> str:
        from kombu.utils.json import dumps

        assert client.stdin
        assert client.stdout
        client.stdin.write(dumps([task, args, options]) + "\n")
        client.stdin.flush()
        return str(json.loads(client.stdout.readline()))

    with client:
        yield send
        assert client.stdin
        client.stdin.close()


@pytest.fixture
def tasks(server: Any, settings: Any, transactional_db: None) -> dict[str, Any]:
    """The TASKS of a project whose jobs are where the Celery app looks; in force."""
    backend = {
        "BACKEND": "taskq_django.TaskqBackend",
        "OPTIONS": {"broker": server.url, "celery_compatible": True, "name": "interop"},
    }
    settings.TASKS = {"default": backend}
    return {"default": backend}


@pytest.fixture
def start_worker(tasks: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., RealWorker]]:
    """Starts workers of this project."""
    (tmp_path / "settings_beside_celery.py").write_text(f"from tests.settings import *\n\nTASKS = {tasks!r}\n")
    env = {
        "DJANGO_SETTINGS_MODULE": "settings_beside_celery",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
    }
    started: list[RealWorker] = []

    def start(*flags: str) -> RealWorker:
        started.append(RealWorker("-p", "1", "--no-reload", *flags, env=env))
        return started[-1].wait_until_ready()

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def start_celery(server: Any, tmp_path: Path) -> Iterator[Callable[..., CeleryWorker]]:
    started: list[CeleryWorker] = []

    def start(*queues: str) -> CeleryWorker:
        started.append(CeleryWorker(server.url, tmp_path, *queues))
        return started[-1].wait_until_ready()

    yield start
    for worker in started:
        worker.stop()

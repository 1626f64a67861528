"""A deploy: web processes, workers and commands of two releases, on one database and one Redis."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import services
from tests.support.workers import RealWorker, wait_for

PROJECT = Path(__file__).parent / "project"
SECONDS = 60  # for an answer, or for an end
RELEASES = ("before", "now")
OTHER = dict(zip(RELEASES, reversed(RELEASES), strict=True))


class Web:
    """``project/web.py`` with the code of one release; ``web.enqueue("echo", [1], "mail")`` does it there."""

    def __init__(self, python: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [str(python), "web.py"],
            cwd=PROJECT,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __getattr__(self, verb: str) -> Any:
        def ask(*arguments: Any) -> Any:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps([verb, arguments]) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or '{"error": "it has ended"}')
            assert "error" not in answer, f"{verb}{arguments}: {answer['error']}"
            return answer["value"]

        return ask

    def stop(self) -> None:
        with self._process:
            assert self._process.stdin
            self._process.stdin.close()


class Deploy:
    """``before`` and ``now`` are its web processes."""

    def __init__(self, pythons: dict[str, Path], folder: Path, project: dict[str, Any]) -> None:
        self.folder = folder
        self._pythons = pythons
        self._env = {
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": "",  # the wheels alone
            "TASKQ_TEST_PROJECT": json.dumps(project, default=str),
        }
        self._webs: dict[str, Web] = {}
        self._workers: dict[tuple[str, ...], RealWorker] = {}

    def web(self, release: str) -> Web:
        if release not in self._webs:
            self._webs[release] = web = Web(self._pythons[release], self._env)
            assert Path(web.where()).is_relative_to(self._pythons[release].parents[1])
        return self._webs[release]

    def worker(self, release: str, *flags: str) -> RealWorker:
        """One that is being started."""
        python = str(self._pythons[release])
        flags = ("-p", "1", "--no-reload", "--name", release, *flags)
        worker = self._workers[release, *flags] = RealWorker(*flags, env=self._env, python=python, folder=PROJECT)
        return worker

    def only(self, *releases: str) -> None:
        """Workers of these releases run, each for the queue of its name, and no others."""
        usual = {(release, "-p", "1", "--no-reload", "--name", release, "-Q", release): release for release in releases}
        for key in self._workers.keys() - usual.keys():
            self._workers.pop(key).stop()
        for release in [release for key, release in usual.items() if key not in self._workers]:
            self.worker(release, "-Q", release)
        for worker in self._workers.values():
            worker.wait_until_ready()

    def file(self, name: str) -> str:
        """The path of one that is not there yet."""
        count = sum(1 for _ in self.folder.glob(f"{name}-*"))
        (self.folder / f"{name}-{count}").mkdir()
        return str(self.folder / f"{name}-{count}" / "file")

    def migrate_under_load(self) -> None:
        """The release before serves its own tables, while the new one changes them; what came of it are attributes."""
        before = self.web("before")
        before.command("migrate", "--verbosity", "0")
        self.only("before")
        self.noted, held = self.file("noted"), self.file("held")
        self.held = before.enqueue("hold", [held], "before")
        self.sent = [before.enqueue("note", [self.noted], "before", 2.0)]
        wait_for(lambda: Path(f"{held}.begun").exists(), what=lambda: self.output)
        self.sent += before.enqueue_many("note", [[self.noted]] * 500, "before")
        waiting = self.worker("now", "-Q", "now")
        self.pending = self._is_pending()
        if self.pending:
            wait_for(lambda: "Waiting for" in waiting.output, what=lambda: waiting.output)
        migrate = subprocess.Popen(
            [str(self._pythons["now"]), "-m", "django", "migrate", "--verbosity", "0"],
            cwd=PROJECT,
            env={**os.environ, **self._env},
        )
        while migrate.poll() is None:
            self.sent.append(before.enqueue("note", [self.noted], "before"))
        assert migrate.returncode == 0
        self.sent += before.enqueue_many("note", [[self.noted]] * 500, "before")
        waiting.wait_until_ready()
        self.log = self.output
        Path(held).touch()

    @property
    def output(self) -> str:
        return "\n".join(worker.output for worker in self._workers.values())

    def _is_pending(self) -> bool:
        command = [str(self._pythons["now"]), "-m", "django", "migrate", "--check", "--verbosity", "0"]
        env = {**os.environ, **self._env}
        return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, check=False).returncode != 0

    def runs(self) -> Counter[str]:
        return Counter(Path(self.noted).read_text().split())

    def stop(self) -> None:
        for service in (*self._workers.values(), *self._webs.values()):
            service.stop()


@contextmanager
def own_database(kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The entry in DATABASES of one that is empty."""
    if kind == "sqlite":
        pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": pragmas}
        yield {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db.sqlite3", "OPTIONS": options}
        return
    import psycopg

    entry = services.postgresql()
    if entry is None:
        pytest.fail(services.missing[-1]) if os.environ.get("CI") else pytest.skip(services.missing[-1])
    name = f"taskq_mixed_{os.getpid()}"
    place = {key: entry[key.upper()] for key in ("host", "port", "user", "password")}
    with psycopg.connect(**place, dbname=entry["NAME"], autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield {key: value for key, value in entry.items() if key != "TEST"} | {"NAME": name}
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

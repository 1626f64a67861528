"""Enqueues and asks, in a system's own virtual environment; JSON lines on stdin and stdout."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from importlib.metadata import version
from typing import Any

from . import machine, marks, orm

FACTS = ("config", "jobs", "waiting", "has_bulk", "naps", "scenes", "also", "has_raw_bulk")


class Driver:
    def __init__(self, name: str) -> None:
        import django

        django.setup()
        self._system = importlib.import_module(f"tests.benchmarks.peers.systems.{name}").System()
        self._snapshot: Any = None

    def info(self) -> dict[str, Any]:
        system = self._system
        facts = {key: getattr(system, key) for key in FACTS}
        versions = {name: version(name) for name in system.distributions}
        return {**facts, "versions": versions, "server": system.server_version(), "python": sys.version.split()[0]}

    def timed(self, method: str, count: int) -> dict[str, float]:
        begun, used = time.perf_counter(), time.process_time()
        getattr(self._system, method)(count)
        used = time.process_time() - used
        return {"rate": count / (time.perf_counter() - begun), "caller_us": used / count * 1e6}

    def enqueue_at_leisure(self, count: int, rate: float) -> None:
        begun = time.monotonic()
        for n in range(count):
            time.sleep(max(0.0, begun + (n + 1) / rate - time.monotonic()))  # low load is what is measured
            marks.enqueued(n)
            self._system.enqueue_one(n)

    def add_users(self) -> None:
        orm.add_users()

    def read_and_write(self, count: int, first: int) -> None:
        """Without a queue."""
        for n in range(first, first + count):
            orm.read_and_write(n)

    def settled_at(self, limit: float) -> float | None:
        """The moment at which no job is left; None when some still are after ``limit`` seconds."""
        deadline = time.monotonic() + limit
        while self._system.left():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.005)
        return time.monotonic()

    def server_cpu(self, own: bool = False) -> dict[str, float]:
        """``own``: with what serves this process's connection of Django, which asks such questions too."""
        return {str(pid): machine.cpu([pid], reaped=False) for pid in self._system.server_pids(own)}

    def engine_cpu(self) -> float:
        return machine.cpu(self._system.engine_pids())

    def open_snapshot(self) -> None:
        """A reading transaction that stays open, as a report or a dump does."""
        self._snapshot = self._system.connection.copy()
        self._snapshot.ensure_connection()
        raw = self._snapshot.connection
        raw.execute("BEGIN" if self._snapshot.vendor == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ")
        raw.execute("SELECT count(*) FROM django_content_type" if self._snapshot.vendor == "sqlite" else "SELECT 1")

    def close_snapshot(self) -> None:
        self._snapshot.connection.execute("ROLLBACK")
        self._snapshot.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print
    driver = Driver(sys.argv[1])
    for line in sys.stdin:
        name, args = json.loads(line)
        try:
            answer = {"value": getattr(driver, name)(*args)}
        except Exception:
            answer = {"error": traceback.format_exc()[-2000:]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # whatever threads a library keeps


if __name__ == "__main__":
    main()

"""What a job costs before and after a change: ``python -m tests.benchmarks.compare PATH_OF_THE_CHECKOUT_BEFORE``.

This checkout is "after". Only its package ``taskq_django`` and the other's differ; all that measures is from here. Both
run alternately, each time with a new database, in servers of their own that serve nobody else. Printed: µs of CPU a
job, medians of the rounds; the ratio of these, and the least and greatest ratio of one round.

A worker's figure is the user and system time of all its processes from the start of the first job until they have
ended, a caller's that of its process from the first call on: starts do not count. The server's is that of all of its
processes meanwhile, and until it rests again. Needs Linux (/proc); wants a quiet machine.

``--database redis`` is Redis with a store that gets no results, in SQLite; ``redis_postgresql`` keeps them. Both
checkouts must have that broker.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import services
from tests.support.redis_servers import Redis

from ..peers import machine

ROOT = Path(__file__).parents[3]
NAMES = {
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "mariadb": "MariaDB",
    "redis": "Redis, no results",
    "redis_postgresql": "Redis, results in PostgreSQL",
}
STORES = {"redis": "sqlite", "redis_postgresql": "postgresql"}  # of those that have a broker beside it
JOBS = {  # a drain of three to five seconds
    "sqlite": 100_000,
    "postgresql": 120_000,
    "mariadb": 40_000,
    "redis": 120_000,
    "redis_postgresql": 120_000,
}
STEP = (sys.executable, "-m", "tests.benchmarks.compare.step")
WORKER = (sys.executable, "-m", "django", "taskq_worker", "--burst", "-v", "0")
SCENES = ("drain, 1 process × 4 threads", "drain, 2 processes", "enqueue in bulk", "enqueue one by one")
Figures = dict[str, float]  # µs of CPU a job: of the worker or the caller, and of each server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="Another checkout, such as `git worktree add` makes.")
    parser.add_argument("--database", nargs="+", choices=list(NAMES), default=list(NAMES)[:3])
    parser.add_argument("--only", default="", help="The scenes whose names have this text, such as drain.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", type=int, help=f"Of a drain; an eighth one by one. Default: {JOBS}.")
    asked = parser.parse_args()
    if not (asked.before / "taskq_django/__init__.py").exists():
        parser.error(f"{asked.before} has no package taskq_django")
    checkouts = {"before": asked.before.resolve(), "after": ROOT}
    found: dict[tuple[str, str], dict[str, list[Figures]]] = {}
    with tempfile.TemporaryDirectory(prefix="taskq-bench-") as folder:
        sides = {name: package_alone(Path(folder) / name, checkout) for name, checkout in checkouts.items()}
        # All at the beginning: one that is missing is told now, and not in half an hour.
        databases = [Database(name, Path(folder)) for name in asked.database]
        for turn in range(asked.rounds):
            for database in databases:
                for scene in filter(lambda name: asked.only in name, SCENES):
                    for side in sorted(sides, reverse=turn % 2 == 0):  # by turns one, then the other first
                        figures = database.measure(scene, sides[side], asked.jobs or JOBS[database.name])
                        found.setdefault((database.name, scene), {}).setdefault(side, []).append(figures)
                        costs = ", ".join(f"{who} {figure:.1f}" for who, figure in figures.items())
                        print(f"{turn + 1}/{asked.rounds} {database.name} {scene}, {side}: {costs}", file=sys.stderr)
    commits = ", ".join(f"{name} {commit(checkout)}" for name, checkout in checkouts.items())
    print(f"\nµs of CPU a job, median of {asked.rounds} rounds; {commits}; Python {sys.version.split()[0]}\n")
    print(table(["", "before", "after", "ratio"], rows_of(found)))


def package_alone(folder: Path, checkout: Path) -> Path:
    """A folder that has nothing but this checkout's ``taskq_django``, for the front of the path."""
    folder.mkdir()
    (folder / "taskq_django").symlink_to(checkout / "taskq_django")
    return folder


def commit(checkout: Path) -> str:
    git = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    return subprocess.run(git, check=False, capture_output=True, text=True).stdout.strip() or str(checkout)


class Database:
    """A store, with or without a broker beside it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._servers: dict[str, int] = {}  # pids
        self._tasks: dict[str, Any] = {"default": {"BACKEND": "taskq_django.TaskqBackend"}}
        try:
            self._entry = self._start_store(STORES.get(name, name), folder)
            if name in STORES:
                self._redis = Redis(folder)  # removed at its end
                self._servers["Redis"] = self._redis.start().pid or 0
                self._tasks["default"]["OPTIONS"] = {"broker": self._redis.url}
        except LookupError as error:
            raise SystemExit(f"{NAMES[name]}: {error}") from error

    def _start_store(self, store: str, folder: Path) -> dict[str, Any]:
        if store == "sqlite":
            options = {
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            }
            file = str(folder / f"{self.name}.sqlite3")
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": options}
        self._servers["server"] = services.start_own(store).pid or 0
        find = {"postgresql": services.postgresql, "mariadb": services.mariadb}[store]
        find.cache_clear()  # another one may have been started before
        return {**(find() or {}), "NAME": "compare"}

    def measure(self, scene: str, side: Path, jobs: int) -> Figures:
        """In a new database, by the code of this side."""
        self._run(side, *STEP, "prepare")
        if scene.startswith("drain"):
            self._run(side, *STEP, "fill", str(jobs))
            cost = self._run(side, *WORKER, "-t", "4", "-p", "1" if "1 process" in scene else "2", who="worker")
            self._run(side, *STEP, "check_ended", str(jobs))
        else:
            jobs = jobs if "bulk" in scene else max(1, jobs // 8)
            cost = self._run(side, *STEP, "enqueue_many" if "bulk" in scene else "enqueue_each", str(jobs))
            self._run(side, *STEP, "check_queued", str(jobs))
        return {each: seconds / jobs * 1e6 for each, seconds in cost.items()}

    def _run(self, side: Path, *command: str, who: str = "caller") -> Figures:
        """CPU seconds of the command's processes, and of the servers, from the moment that the command marks."""
        began = side / "began"
        began.unlink(missing_ok=True)
        env = {
            **os.environ,
            "PYTHONPATH": f"{side}:{ROOT}",
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.compare.settings",
            "COMPARE_DATABASE": json.dumps(self._entry),
            "COMPARE_TASKS": json.dumps(self._tasks),
            "COMPARE_KEEPS": "" if self.name == "redis" else "yes",
            "COMPARE_BEGAN": str(began),
        }
        process = subprocess.Popen(command, cwd=side, env=env, stdin=subprocess.DEVNULL)
        while not began.exists() and not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.002)  # leave the cores to it
        own, servers = machine.cpu(machine.tree(process.pid)), self._server_cpu()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        used = {name: cpu - servers[name] for name, cpu in self._servers_at_rest().items()}
        return {who: usage.ru_utime + usage.ru_stime - own, **used}

    def _server_cpu(self) -> dict[str, float]:
        """Seconds of all their processes so far, also of those that have ended."""
        return {name: machine.cpu(machine.tree(pid)) for name, pid in self._servers.items()}

    def _servers_at_rest(self) -> dict[str, float]:
        """The same once they have cleaned up behind the last command, or after some seconds."""
        used, deadline = self._server_cpu(), time.monotonic() + 5
        while self._servers and time.monotonic() < deadline:
            time.sleep(0.2)  # the span in which they are at rest
            before, used = used, self._server_cpu()
            if sum(used.values()) - sum(before.values()) < 2 / machine.TICK:
                break
        return used


def rows_of(found: dict[tuple[str, str], dict[str, list[Figures]]]) -> list[list[str]]:
    rows = []
    for (database, scene), sides in found.items():
        for who in sides["after"][0]:
            before, after = ([figures[who] for figures in sides[side]] for side in ("before", "after"))
            pairs = [ratio(a, b) for a, b in zip(before, after, strict=True)]
            a, b = statistics.median(before), statistics.median(after)
            span = f"{ratio(a, b):.3f} [{min(pairs):.2f} to {max(pairs):.2f}]"
            rows.append([f"{NAMES[database]}, {scene}: {who}", f"{a:.1f}", f"{b:.1f}", span])
    return rows


def ratio(before: float, after: float) -> float:
    return after / before if before else float("nan")  # too few jobs to be seen


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A simple table of reStructuredText."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    edge = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows)]
    return "\n".join([edge, lines[0], edge, *lines[1:], edge])


if __name__ == "__main__":
    main()

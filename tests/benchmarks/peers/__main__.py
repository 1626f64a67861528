"""Our system and its peers, in one run on one machine.

``python -m tests.benchmarks.peers`` measures all of them (an hour and a half) and writes results.json and the tables
that docs/explanation/speed.rst includes. ``--systems taskq_django:pg pgqueuer:pg --steps drain`` measures less; figures
of the last run that are not measured again are kept. With another ``--json`` file the tables are written beside it.
``--report`` only writes the tables.

The peers are installed from PyPI into $BENCH_VENVS (default: taskq-bench-venvs in the temporary folder). PostgreSQL and
MariaDB are those that TASKQ_TEST_POSTGRESQL and TASKQ_TEST_MARIADB name, or that answer on the usual local ports; they
must run on this host, and the databases bench_* are made and dropped in them. Redis is a server of its own, without
persistence. Needs Linux (/proc).
Wants a quiet machine; run nothing beside it. A second run at a time is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support import services
from tests.support.redis_servers import Redis

from . import report
from .steps import STEPS, Run

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
SYSTEMS = [
    "taskq_django:pg",
    "pgqueuer:pg",
    "procrastinate:pg",
    "django_tasks_db:pg",
    "django_ox:pg",
    "dj_queue:pg",
    "django_q2:pg",
    "taskq_django:sqlite",
    "taskq_django:sqlite_stock",
    "huey:sqlite",
    "django_tasks_db:sqlite",
    "django_ox:sqlite",
    "dj_queue:sqlite",
    "django_q2:sqlite",
    "taskq_django:mariadb",
    "taskq_django:redis",
    "django_vtasks:redis",
    "taskiq:redis",
    "huey:redis",
    "dramatiq:redis",
    "celery:redis",
    "taskq_django:redis_pg",
    "taskq_django:redis_sqlite",
    "celery:redis_pg",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, metavar="NAME:VARIANT")
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="Of the numbers of jobs and rows.")
    parser.add_argument("--quiet-wait", type=float, default=20.0, help="Seconds to wait for a quiet machine each time.")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="Measure nothing.")
    asked = parser.parse_args()
    results: dict[str, Any] = json.loads(asked.json.read_text()) if asked.json.exists() else {"systems": {}}
    if not asked.report:
        results["machine"] = machine_facts()
        with the_only_run(), tempfile.TemporaryDirectory(prefix="taskq-bench-") as folder:
            environment = prepare_environment(Path(folder), asked.systems)
            if any(":redis" in spec for spec in asked.systems):
                server = Redis(Path(folder)).start()  # ends with this process
                environment |= {"BENCH_REDIS": server.url, "BENCH_REDIS_PID": str(server.pid)}
            run = Run(asked, results, lambda: save(results, asked.json))
            run.measure(environment, Path(folder))
    report.write(results, report.TABLES if asked.json == RESULTS else asked.json.with_suffix(".rst"))


def the_only_run() -> socket.socket:
    """Held until it is closed or this process is gone: two runs would drop each other's databases."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind("\0tests.benchmarks.peers")  # Linux keeps such a name itself: no file stays behind
    except OSError as error:
        raise SystemExit(
            "tests.benchmarks.peers: another run goes on on this machine. Both would use the databases bench_*, and "
            "each would measure the other. Wait until it has ended."
        ) from error
    return name


def prepare_environment(folder: Path, specs: list[str]) -> dict[str, str]:
    os.environ["BENCH_MARKS"] = str(folder / "marks")
    mariadb = services.mariadb() if any(spec.endswith(":mariadb") for spec in specs) else None
    return {
        "BENCH_FOLDER": str(folder),
        "BENCH_POSTGRESQL": json.dumps(services.postgresql() or {}),
        "BENCH_MARIADB": json.dumps(mariadb or {}),
    }


def machine_facts() -> dict[str, Any]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": f"{len(models)} × {models[0].partition(': ')[2]}" if models else platform.machine(),
        "python": f"{platform.python_version()} ({platform.python_compiler()})",
        "kernel": platform.release().partition("-")[0],
    }


def save(results: dict[str, Any], path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    new.replace(path)


if __name__ == "__main__":
    main()

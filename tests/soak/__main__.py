"""Each fault many times, and what it cost: ``python -m tests.soak [--times 100] [--db sqlite postgresql mariadb]``.

With ``--broker redis`` the jobs wait in a Redis, and its faults are among them. With ``--pooler`` a PgBouncer stands
between the workers and PostgreSQL.

Two real workers with a lease of 0.8 s run ledgered jobs while one of them is killed, stopped or cut off. The ledger, a
file outside the system, decides. Database servers are the soak's own: it kills them too. The figures go into
docs/explanation. Needs Linux, and root for a disk that can be filled.

It may be done in parts, at once or one after the other, on different days: each with an ``--out`` of its own, and
all of them given to ``--merge``, which adds them to figures.json and writes the tables of that. Each is added once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import of_hosts, of_jobs, of_processes, of_redis, of_servers
from .bench import ROOT, Bench
from .figures import Figures, merged, write_table

SUMS = Path(__file__).parent / "figures.json"
TABLES = {
    "database": ROOT / "docs/explanation/guarantees_table.inc",
    "redis": ROOT / "docs/explanation/guarantees_redis_table.inc",
}
DISK = {"sqlite": "64m", "postgresql": "384m", "mariadb": "384m"}  # small, because it is filled each time
ORDER = [fault.__name__ for part in (of_processes, of_jobs, of_hosts, of_servers, of_redis) for fault in part.FAULTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", nargs="+", default=["sqlite", "postgresql", "mariadb"])
    parser.add_argument("--broker", choices=["database", "redis"], default="database")
    parser.add_argument("--pooler", action="store_true", help="PostgreSQL behind a PgBouncer.")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--only", nargs="+", help="Only these faults, by the names of their functions.")
    parser.add_argument("--out", type=Path, help="For one database: write the figures there, as JSON.")
    parser.add_argument("--merge", type=Path, nargs="+", help="Only add such files to the sums, and write the tables.")
    asked = parser.parse_args()
    if asked.merge:
        tell(asked.merge)
    elif asked.out:
        soak(asked.db[0], asked)
    else:
        with tempfile.TemporaryDirectory(prefix="taskq-soak-") as folder:
            files = [Path(folder) / f"{database}.json" for database in asked.db]
            for database, file in zip(asked.db, files, strict=True):
                flags = ["--broker", asked.broker, "--db", database, "--times", str(asked.times), "--out", str(file)]
                flags += ["--only", *asked.only] if asked.only else []
                flags += ["--pooler"] if asked.pooler else []
                subprocess.run([sys.executable, "-m", "tests.soak", *flags], check=True, cwd=ROOT)
            tell(files)


def tell(files: Iterable[Path]) -> None:
    """Add these to the sums, and write the tables."""
    kept = json.loads(SUMS.read_text()) if SUMS.exists() else []
    sums = merged([*kept, *(json.loads(file.read_text()) for file in files)])
    SUMS.write_text(json.dumps(sums, indent=1) + "\n")
    for broker, table in TABLES.items():
        write_table([each for each in sums if each["broker"] == broker], ORDER, table)


def soak(database: str, asked: Namespace) -> None:
    """All the faults once, each time in another order; the figures are written after each time."""
    from tests.support import services
    from tests.support.small_disk import mounted

    if asked.pooler and database != "postgresql":
        raise SystemExit("tests.soak: --pooler is for --db postgresql")
    faults = faults_of(database, asked)
    with ExitStack() as undo:
        disk = undo.enter_context(mounted(DISK[database])) if of_hosts.fill_the_disk in faults else None
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="taskq-soak-")))
        server = None if database == "sqlite" else services.start_own(database, disk)
        if server:
            undo.callback(server.remove)  # before its disk
        elif disk:
            os.environ["TASKQ_TEST_FOLDER"] = str(disk)
        os.environ["TASKQ_TEST_DB"] = database
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        import django

        django.setup()
        from django.db import connection

        connection.creation.create_test_db(verbosity=0)
        kind = Bench if asked.broker == "database" else of_redis.MessageBench
        bench = kind(folder, server, disk, pooled=asked.pooler)
        undo.callback(bench.stop)
        figures: dict[str, Figures] = {}
        for number in range(1, asked.times + 1):
            for fault in random.sample(faults, len(faults)):
                began_at = time.monotonic()
                try:
                    seen = bench.round(fault)
                except Exception as error:
                    error.add_note(f"The fault was {fault.__name__}, the {number}. time.")
                    raise
                seen.seconds = time.monotonic() - began_at
                figures.setdefault(fault.__name__, Figures()).add(seen)
            asked.out.write_text(json.dumps(told(figures, asked.broker, bench.name)))
            print(database, number, {name: asdict(each) for name, each in figures.items()}, flush=True)


def faults_of(database: str, asked: Namespace) -> list[Callable[..., Any]]:
    faults = [*of_processes.FAULTS, *of_jobs.FAULTS, *of_hosts.FAULTS]
    faults += of_servers.FAULTS if database != "sqlite" else []
    faults += of_redis.FAULTS if asked.broker == "redis" else []
    if unknown := set(asked.only or ()) - {fault.__name__ for fault in faults}:
        raise SystemExit(f"tests.soak: no such fault for {database}: {', '.join(sorted(unknown))}")
    return [fault for fault in faults if not asked.only or fault.__name__ in asked.only]


def told(figures: dict[str, Figures], broker: str, name: str) -> dict[str, Any]:
    import django

    return {
        "broker": broker,
        "database": name,
        "django": django.get_version(),
        "python": platform.python_version(),
        "days": [datetime.now(UTC).date().isoformat()],
        "figures": {name: asdict(each) for name, each in figures.items()},
    }


if __name__ == "__main__":
    main()

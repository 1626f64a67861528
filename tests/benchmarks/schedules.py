"""How late schedules start: ``python -m tests.benchmarks.schedules [--db sqlite postgresql mariadb] [--count 1000]``.

One worker with its beat (``taskq_worker -B``) and so many schedules, (a) due at spread moments of the seconds to come,
(b) all due in one second. Printed: p50 and p99 of (start of the job − slot), and of (enqueued − slot), in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SPAN = 30  # seconds that the spread schedules share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", nargs="+", default=["sqlite", "postgresql", "mariadb"])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1, help="So many, each with a beat.")
    asked = parser.parse_args()
    if len(asked.db) > 1:  # one process a database: Django knows one `default`
        for database in asked.db:
            flags = ["--db", database, "--count", str(asked.count), "--workers", str(asked.workers)]
            subprocess.run([sys.executable, "-m", "tests.benchmarks.schedules", *flags], check=True, cwd=ROOT)
        return
    with tempfile.TemporaryDirectory(prefix="taskq-bench-") as folder:
        os.environ["TASKQ_TEST_DB"] = asked.db[0]
        os.environ["TASKQ_TEST_FOLDER"] = folder
        os.environ["TASKQ_BENCH_MARKS"] = f"{folder}/marks"
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.settings"
        import django

        django.setup()
        from django.db import connection

        name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
        os.environ["TASKQ_TEST_NAME"] = str(name)
        print(f"\n{asked.db[0]}: {asked.count} schedules, {asked.workers} worker(s) with a beat")
        print(f"{'':<36}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}{'enqueued p50':>15}{'p99':>8}")
        try:
            measure("due at spread moments", asked.count, asked.workers, spread=True)
            measure("all due in one second", asked.count, asked.workers, spread=False)
        finally:
            connection.creation.destroy_test_db(name, verbosity=0)


def measure(label: str, count: int, workers: int, *, spread: bool) -> None:
    from django.db import connection

    from taskq_django.models import JobResult, QueuedJob, Schedule, ScheduleRun
    from taskq_django.models.moments import database_now
    from tests.benchmarks.__main__ import Worker

    for model in (Schedule, ScheduleRun, QueuedJob, JobResult):
        model._default_manager.all().delete()
    started = [Worker("-B") for _ in range(workers)]
    try:
        time.sleep(4)  # until the start is over
        begin = database_now("default").replace(microsecond=0) + timedelta(seconds=6)
        Schedule.objects.bulk_create(
            Schedule(
                name=f"s{n}",
                task_path="tests.benchmarks.tasks.noop",
                args=[n],
                # Half of each kind that there is: both are read by every beat.
                **({"kind": "interval", "spec": "1 hour"} if n % 2 else {"spec": "17 3 * * *"}),
                timezone="Europe/Berlin",
                next_run_at=begin + timedelta(seconds=SPAN * n / count if spread else 0),
            )
            for n in range(count)
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE taskq_django_schedule" if connection.vendor == "mysql" else "ANALYZE")
        deadline = time.monotonic() + SPAN + 60
        while JobResult.objects.count() < count and time.monotonic() < deadline:
            time.sleep(0.5)  # between two counts, which cost the server time
    finally:
        for worker in started:
            worker.stop()
    slots: dict[Any, datetime] = dict(ScheduleRun.objects.values_list("job_id", "slot"))
    starts, sends = [], []
    for id_, started_at, enqueued_at in JobResult.objects.values_list("id", "started_at", "enqueued_at"):
        starts.append((started_at - slots[id_]).total_seconds() * 1000)
        sends.append((enqueued_at - slots[id_]).total_seconds() * 1000)
    assert len(starts) == count, f"{len(starts)} of {count} have run"
    print(
        f"{label:<36}{part(starts, 0.5):>10.1f}{part(starts, 0.99):>10.1f}{max(starts):>10.1f}"
        f"{part(sends, 0.5):>15.1f}{part(sends, 0.99):>8.1f}",
        flush=True,
    )


def part(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


if __name__ == "__main__":
    main()

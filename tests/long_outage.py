"""A database that is away for minutes: ``python -m tests.long_outage [--minutes 10] [--db postgresql]``.

Two workers as they come out of the box, on a server of its own, in the middle of many short jobs. All processes of the
server are killed; after the outage it is started again on the same files. Prints what the workers did. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
JOBS = 100_000
RATE_SECONDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", choices=["postgresql", "mariadb"], default="postgresql")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=JOBS)
    asked = parser.parse_args()

    from tests.support import services

    server = services.start_own(asked.db)
    os.environ.update(TASKQ_TEST_DB=asked.db, DJANGO_SETTINGS_MODULE="tests.settings")
    import django

    django.setup()
    from django.db import connection

    connection.creation.create_test_db(verbosity=0)
    with tempfile.TemporaryDirectory(prefix="taskq-outage-") as folder:
        figures = measure(server, Path(folder), asked.minutes * 60, asked.jobs)
    for name, figure in figures.items():
        print(f"{name:32} {figure}")


def measure(server: Any, folder: Path, seconds: float, count: int) -> dict[str, Any]:
    from django.db import connection

    from taskq_django.models import JobResult, QueuedJob
    from tests.app import tasks
    from tests.support.ledger import Ledger
    from tests.support.workers import RealWorker, wait_for

    (folder / "plain_settings.py").write_text("from tests.settings import *\ndel DATABASES['other']\n")
    env = {"DJANGO_SETTINGS_MODULE": "plain_settings", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    ledger = Ledger(folder / "ledger")
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.0)] * count)
    workers = [RealWorker("-t", "3", env=env).wait_until_ready() for _ in range(2)]

    def logs() -> str:
        return "\n---\n".join(worker.output[-5000:] for worker in workers)

    try:
        wait_for(lambda: JobResult.objects.count() > count // 20, what=logs)
        before, began = JobResult.objects.count(), time.monotonic()
        time.sleep(1.0)  # the time over which it is measured
        rate = (JobResult.objects.count() - before) / (time.monotonic() - began)
        children = [worker.children() for worker in workers]
        server.kill()
        down_at = time.monotonic()
        connection.close()
        time.sleep(seconds)  # the length of the outage
        alive = [worker.process.poll() for worker in workers] == [None, None]
        same = [worker.children() for worker in workers] == children
        ended = sum(story.ends for story in ledger.stories().values())
        tries = [worker.output.count("next try in") for worker in workers]
        pauses = [float(n) for worker in workers for n in re.findall(r"next try in ([\d.]+) s", worker.output)]
        shown = [line for line in workers[0].output.splitlines() if "next try in" in line]
        outage_lines = [len(worker.output.splitlines()) for worker in workers]
        server.start()
        up_at = time.monotonic()
        settled = JobResult.objects.count()
        wait_for(lambda: JobResult.objects.count() > settled, what=logs)
        first = time.monotonic() - up_at
        wait_for(lambda: JobResult.objects.count() >= min(ended, count), what=logs)
        held_after = time.monotonic() - up_at
        time.sleep(max(0.0, up_at + RATE_SECONDS - time.monotonic()))  # the time over which it is measured
        after = (JobResult.objects.count() - settled) / (time.monotonic() - up_at)
        soon, soon_at = JobResult.objects.count(), time.monotonic()
        time.sleep(1.0)  # the time over which it is measured
        rate_again = (JobResult.objects.count() - soon) / (time.monotonic() - soon_at)
        wait_for(lambda: not QueuedJob.objects.exists(), timeout=300, what=logs)
        codes = []
        for worker in workers:
            worker.send(signal.SIGTERM)
            codes.append(worker.wait(60))
        return {
            "outage (s)": round(up_at - down_at, 1),
            "workers stayed": alive,
            "their processes stayed": same,
            "tries, by worker": tries,
            "longest pause (s)": max(pauses),
            "lines of log, by worker": outage_lines,
            "first line": shown[0],
            "last line": shown[-1],
            "settled before": before,
            "jobs a second before": round(rate),
            "outcomes held at the return": ended - settled,
            "first settled after (s)": round(first, 2),
            "held ones settled after (s)": round(held_after, 2),
            f"jobs a second in those {RATE_SECONDS} s": round(after),
            "jobs a second after these": round(rate_again),
            "lost": len(ledger.lost({job.id for job in jobs})),
            "run twice": ledger.duplicated(),
            "states": set(JobResult.objects.values_list("status", "attempts", "tries")),
            "exit codes": codes,
            "log since the return": "".join(f"\n  {line}" for line in _since(workers[0].output, outage_lines[0])),
            "tracebacks": sum(worker.output.count("Traceback") for worker in workers),
        }
    finally:
        for worker in workers:
            worker.stop()


def _since(output: str, count: int) -> list[str]:
    """The lines after so many, without those of jobs that succeeded."""
    return [line for line in output.splitlines()[count:] if "succeeded task=" not in line]


if __name__ == "__main__":
    main()

"""How fast, beside the raw driver: ``python -m tests.benchmarks [--db sqlite postgresql mariadb] [--jobs 10000]``.

Every figure stands beside that of the bare driver in the same run: the machine's speed changes by the minute, so
only the ratios can be compared. Needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATABASES = ("sqlite", "postgresql", "mariadb")
TABLES = ("taskq_django_queuedjob", "taskq_django_jobresult")
STEPS = ("one_by_one", "in_bulk", "drain", "beside_retries", "sleeping", "latency", "idle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", nargs="+", choices=DATABASES)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=STEPS)
    asked = parser.parse_args()
    if asked.db is None or len(asked.db) > 1:  # one process a database: Django knows one `default`
        for database in asked.db or DATABASES:
            flags = ["--db", database, "--jobs", str(asked.jobs), "--rounds", str(asked.rounds)]
            flags += ["--only", *asked.only] if asked.only else []
            subprocess.run([sys.executable, "-m", "tests.benchmarks", *flags], check=True, cwd=ROOT)
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
        try:
            Benchmark(asked.db[0], asked.jobs, asked.rounds, asked.only).run()
        finally:
            connection.creation.destroy_test_db(name, verbosity=0)


class Benchmark:
    def __init__(self, database: str, jobs: int, rounds: int, only: list[str] | None) -> None:
        from django.db import connection

        self.database, self.jobs, self.rounds = database, jobs, rounds
        self.connection, self.only = connection, only

    def run(self) -> None:
        import django
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT sqlite_version()" if self.database == "sqlite" else "SELECT version()")
            server = cursor.fetchone()[0].split(" on ")[0]
        driver = connection.Database.__name__
        print(f"\n{self.database}: {server}, {driver}; Django {django.get_version()}, Python {sys.version.split()[0]}")
        print(f"{'':<44}{'ours':>12}{'raw driver':>12}{'ratio':>8}")
        for step in self.only or STEPS:
            getattr(self, step)()

    # --- enqueue -------------------------------------------------------------------------------------------------

    def one_by_one(self) -> None:
        from tests.benchmarks.tasks import noop

        count = min(2000, self.jobs)

        def ours() -> None:
            for n in range(count):
                noop.enqueue(n)

        def raw() -> None:
            execute, sql, row = self._raw_insert()
            for _ in range(count):
                execute(sql, row())

        self._compare("enqueue one by one, /s", count, ours, raw)

    def in_bulk(self) -> None:
        from tests.benchmarks.tasks import noop

        count = self.jobs
        calls = [(n,) for n in range(1000)]

        def ours() -> None:
            for _ in range(count // 1000):
                noop.enqueue_many(calls)

        def raw() -> None:
            raw = self.connection.connection
            _, sql, row = self._raw_insert()
            for _ in range(count // 1000):
                with self._transaction():
                    raw.cursor().executemany(sql, [row() for _ in range(1000)])

        self._compare("enqueue 1,000 at a time, /s (raw: executemany)", count // 1000 * 1000, ours, raw)

    # --- run -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        from tests.benchmarks.tasks import anoop, noop

        variants: list[tuple[str, Any, list[str]]] = [
            ("drain, 1 process x 4 threads, jobs/s", noop, ["-p", "1"]),
            ("drain, 1 process, coroutines, jobs/s", anoop, ["-p", "1"]),
            ("drain, 2 processes x 4 threads, jobs/s", noop, ["-p", "2"]),
        ]
        for label, task, flags in variants:
            ours, raw = [], []
            for _ in range(self.rounds):
                self._clear()
                task.enqueue_many([(n,) for n in range(self.jobs)])
                raw.append(self._raw_drain())
                self._clear()
                task.enqueue_many([(n,) for n in range(self.jobs)])
                ours.append(self._timed_worker(flags))
            self._print(label, ours, raw)

    def beside_retries(self) -> None:
        """Drain while 10,000 failed jobs wait an hour for their next try, beside the same without these."""
        from django.db.models import F

        from taskq_django.models import QueuedJob
        from tests.benchmarks.tasks import noop

        beside, alone = [], []
        for _ in range(self.rounds):
            for rates, retries in ((alone, 0), (beside, 10_000)):
                self._clear()
                noop.using(run_after=timedelta(hours=1)).enqueue_many([(n,) for n in range(retries)])
                QueuedJob.objects.update(tries=1, attempts=1, started_at=F("enqueued_at"))
                noop.enqueue_many([(n,) for n in range(self.jobs)])
                rates.append(self._timed_worker(["-p", "1"]))
        self._print("drain beside 10,000 retries that wait", beside, alone, "without them")

    def _timed_worker(self, flags: list[str]) -> float:
        """Jobs a second, from the first that is settled after the start to the last."""
        from taskq_django.models import QueuedJob

        self._analyze()
        worker = Worker(*flags)
        try:
            waiting = QueuedJob.objects.exclude(status="SCHEDULED")
            total = left = waiting.count()
            begun, begun_left = 0.0, total
            while left:
                left = waiting.count()
                now = time.monotonic()
                if not begun and left < total:
                    begun, begun_left = now, left
                time.sleep(0.01)  # between two counts, which cost the server time
            return begun_left / (now - begun)
        finally:
            worker.stop()

    def _raw_drain(self) -> float:
        """What the bare driver needs to claim 100 rows and move them to the history, over and over."""
        self._analyze()
        raw = self.connection.connection
        rank = self.connection.ops.quote_name("rank")
        lock = "" if self.database == "sqlite" else " FOR UPDATE SKIP LOCKED"
        begun, done = time.monotonic(), 0
        while True:
            with self._transaction():
                cursor = raw.cursor()
                sql = (
                    "SELECT id FROM taskq_django_queuedjob WHERE backend = 'default' AND status = 'READY' "
                    f"AND queue_name = 'default' ORDER BY {rank}, available_at, id LIMIT 100{lock}"
                )
                cursor.execute(sql)
                ids = [row[0] for row in cursor.fetchall()]
                if not ids:
                    return done / (time.monotonic() - begun)
                in_one = self.database == "postgresql"
                chosen = "id = ANY(%s)" if in_one else f"id IN ({','.join([self._mark] * len(ids))})"
                values: Any = [ids] if in_one else ids
                cursor.execute(
                    "INSERT INTO taskq_django_jobresult (id, task_path, backend, queue_name, priority, status, "
                    "enqueued_at, finished_at, payload, headers, tries, attempts, crashes, exception_class, message) "
                    f"SELECT id, task_path, backend, queue_name, -{rank}, 'SUCCESSFUL', enqueued_at, enqueued_at, "
                    f"payload, headers, 0, 1, 0, '', '' FROM taskq_django_queuedjob WHERE {chosen}",
                    values,
                )
                cursor.execute(f"DELETE FROM taskq_django_queuedjob WHERE {chosen}", values)
                done += len(ids)

    def sleeping(self) -> None:
        from tests.benchmarks.tasks import anap, nap

        for label, task, flags in (
            ("2,000 x sleep 50 ms, 100 threads, /s", nap, ["-t", "100"]),
            ("2,000 x sleep 50 ms, 100 coroutines, /s", anap, []),
        ):
            rates = []
            for _ in range(self.rounds):
                self._clear()
                task.enqueue_many([(n,) for n in range(2000)])
                rates.append(self._timed_worker(["-p", "1", *flags]))
            self._print(label, rates, [2000.0], raw_name="ideal")

    def latency(self) -> None:
        from tests.benchmarks.tasks import marks, noop

        self._clear()
        worker = Worker("-p", "1")
        waits: list[float] = []
        try:
            for n in range(150):
                time.sleep(0.02)  # low load is what is measured
                struct.pack_into("d", marks(), n * 8, 0.0)
                begun = time.monotonic()
                noop.enqueue(n)
                while not (started := struct.unpack_from("d", marks(), n * 8)[0]):
                    time.sleep(0.0005)  # leave the core to the worker
                waits.append((started - begun) * 1000)
        finally:
            worker.stop()
        waits = sorted(waits[10:])
        p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        print(f"{'enqueue to start, ms':<44}{f'p50 {p50:.1f}':>12}{f'p99 {p99:.1f}':>12}")

    def idle(self) -> None:
        self._clear()
        worker = Worker("-p", "2")
        try:
            time.sleep(3)  # until the start is over
            before, begun = worker.cpu(), time.monotonic()
            time.sleep(10)  # the span over which idling is measured
            share = (worker.cpu() - before) / (time.monotonic() - begun)
            print(f"{'idle, 2 processes':<44}{f'{worker.pss():.0f} MiB PSS':>12}{f'{share:.1%} CPU':>12}")
        finally:
            worker.stop()

    # --- parts ---------------------------------------------------------------------------------------------------

    def _compare(self, label: str, count: int, ours: Callable[[], None], raw: Callable[[], None]) -> None:
        rates: dict[str, list[float]] = {"ours": [], "raw": []}
        for _ in range(self.rounds):
            for name, run in (("ours", ours), ("raw", raw)):
                self._clear()
                begun = time.perf_counter()
                run()
                rates[name].append(count / (time.perf_counter() - begun))
        self._print(label, rates["ours"], rates["raw"])

    def _print(self, label: str, ours: list[float], raw: list[float], raw_name: str = "") -> None:
        a, b = statistics.median(ours), statistics.median(raw)
        spread = f"  [{min(ours):,.0f} to {max(ours):,.0f}]"
        print(f"{label:<44}{a:>12,.0f}{b:>12,.0f}{a / b:>8.2f}{spread} {raw_name}", flush=True)

    def _raw_insert(self) -> tuple[Callable[..., Any], str, Callable[[], Any]]:
        from taskq_django.jobs import new_id

        self.connection.ensure_connection()
        raw = self.connection.connection
        mark, rank = self._mark, self.connection.ops.quote_name("rank")
        sql = (
            f"INSERT INTO taskq_django_queuedjob (id, task_path, backend, queue_name, status, {rank}, available_at, "
            f"enqueued_at, payload, headers, tries, attempts, crashes) VALUES ({mark}, 'tests.benchmarks.tasks.noop', "
            f"'default', 'default', 'READY', 0, {mark}, {mark}, '[[1],{{}}]', '', 0, 0, 0)"
        )
        now: Any = "2026-01-01 00:00:00.000000" + ("+00:00" if self.database == "postgresql" else "")
        dashes = self.database == "postgresql"

        def row() -> tuple[str, str, str]:
            id_ = new_id()
            return (id_ if dashes else id_.replace("-", ""), now, now)

        return (raw.cursor() if self.database == "mariadb" else raw).execute, sql, row

    @property
    def _mark(self) -> str:
        """Of a parameter, for the bare driver."""
        return "?" if self.database == "sqlite" else "%s"

    def _transaction(self) -> Any:
        from django.db import transaction

        return transaction.atomic()

    def _clear(self) -> None:
        with self.connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DELETE FROM {table}" if self.database == "sqlite" else f"TRUNCATE TABLE {table}")

    def _analyze(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {', '.join(TABLES)}" if self.database == "mariadb" else "ANALYZE")
            if self.database == "postgresql":
                cursor.execute("CHECKPOINT")


class Worker:
    """A worker with its log off, as peers are measured."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "django", "taskq_worker", "-v", "0", *flags],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def _pids(self) -> list[int]:
        pids = [self.process.pid]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                if parent == self.process.pid:
                    pids.append(int(entry.name))
        return pids

    def pss(self) -> float:
        """MiB, shared pages divided among those who share them."""
        total = 0
        for pid in self._pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total / 1024

    def cpu(self) -> float:
        """User and system seconds so far."""
        total = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

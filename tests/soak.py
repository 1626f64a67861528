"""Each fault many times, and what it cost: ``python -m tests.soak [--times 100] [--db sqlite postgresql mariadb]``.

With ``--broker redis`` the jobs wait in a Redis, and its faults are among them: tests/soak_messages.py.

Two real workers with a lease of 0.8 s run ledgered jobs while one of them is killed, stopped or cut off. The ledger, a
file outside the system, decides. Database servers are the soak's own: it kills them too. The figures go into
docs/explanation. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TABLES = {
    "database": ROOT / "docs/explanation/guarantees_table.inc",
    "redis": ROOT / "docs/explanation/guarantees_redis_table.inc",
}
HASTY = {"WORKER": {"HEARTBEAT": 0.1, "LEASE": 0.8, "MAINTENANCE": 0.1}}
JOBS, SECONDS = 10, 0.3


@dataclass(slots=True)
class Figures:
    times: int = 0
    jobs: int = 0
    lost: int = 0
    forgotten: int = 0
    duplicated: int = 0
    overlapped: int = 0
    overwritten: int = 0
    recovery: list[float] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        for name in ("times", "jobs", "lost", "forgotten", "duplicated", "overlapped", "overwritten"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.recovery += other.recovery


class Bench:
    """Two workers, their ledger, and the proxy between them and a server of the bench's own."""

    def __init__(self, folder: Path, server: Any, *more: str) -> None:
        """``more``: lines of the settings of its workers."""
        from django.conf import settings
        from django.db import connection

        from tests.support.proxy import FaultProxy

        self.folder = folder
        self.rounds = 0
        self.server = server
        self.proxy: FaultProxy | None = None
        lines = ["from tests.settings import *", f"TASKQ = {HASTY!r}", "del DATABASES['other']", *more]
        if connection.vendor != "sqlite":
            entry = dict(settings.DATABASES["default"])
            self.proxy = FaultProxy(entry["HOST"], int(entry["PORT"]))
            change = {"HOST": "127.0.0.1", "PORT": self.proxy.port}
            lines.append(f"DATABASES['default'].update({change!r})")
        (folder / "soak_settings.py").write_text("\n".join(lines))
        self.env = {"DJANGO_SETTINGS_MODULE": "soak_settings", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
        self.workers = [self.start(), self.start()]

    def start(self) -> Any:
        from tests.support.workers import RealWorker, wait_for

        worker = RealWorker("-t", "3", env=self.env).wait_until_ready()
        wait_for(worker.children, what=lambda: worker.output)
        return worker

    def replace(self, worker: Any) -> None:
        worker.stop()
        self.workers[self.workers.index(worker)] = self.start()

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()
        if self.proxy:
            self.proxy.close()

    def round(self, fault: Callable[[Bench, Any], Any]) -> Figures:
        """Inject the fault once, wait until every job has ended and the workers are whole again."""
        from tests.support.ledger import Ledger
        from tests.support.workers import wait_for

        self.rounds += 1
        ledger = Ledger(self.folder / f"ledger{self.rounds}")
        victim = random.choice(self.workers)
        ids = self.enqueue(str(ledger.path))
        wait_for(lambda: ledger.started() >= 3, what=lambda: victim.output)
        time.sleep(random.uniform(0, SECONDS))  # at any point of what they do
        at, begun = time.monotonic(), set(ledger.stories())
        mend = fault(self, victim)
        forgotten = self.wait_for_end(ids, ledger, fault) - begun
        before = story_of(ids)
        if mend:
            mend()
        if fault in LATE:
            wait_for(lambda: not ledger.running(), what=lambda: victim.output)
        return Figures(
            times=1,
            jobs=JOBS,
            lost=len(ledger.lost(ids) - forgotten),
            forgotten=len(forgotten),
            duplicated=ledger.duplicated(),
            overlapped=ledger.overlapped(),
            overwritten=sum(before[id_] != after for id_, after in story_of(ids).items()),
            recovery=ledger.recovery(at),
        )

    def enqueue(self, path: str) -> set[str]:
        from tests.app import tasks

        return {result.id for result in tasks.ledgered.enqueue_many([(path, SECONDS)] * JOBS)}

    def wait_for_end(self, ids: set[str], ledger: Any, fault: Any) -> set[str]:
        """Until each has a result; the ids of those of which there is none."""
        from taskq_django.models import JobResult
        from tests.support.workers import wait_for

        def ended() -> bool:
            return JobResult.objects.filter(id__in=ids).count() == len(ids)

        wait_for(ended, timeout=60, what=lambda: "\n".join(worker.output for worker in self.workers))
        return set()


def story_of(ids: Iterable[str]) -> dict[str, Any]:
    from taskq_django.models import JobResult

    rows = JobResult.objects.filter(id__in=list(ids))
    return {str(row.id): (row.status, row.attempts, row.worker_id, row.finished_at) for row in rows}


# --- the faults: each gets the bench and its victim, and may return what mends it -------------------------------------


def kill_a_process(bench: Bench, victim: Any) -> None:
    for child in victim.children():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def kill_a_worker(bench: Bench, victim: Any) -> Any:
    victim.send_to_group(signal.SIGKILL)
    return lambda: bench.replace(victim)


def kill_a_supervisor(bench: Bench, victim: Any) -> Any:
    victim.send(signal.SIGKILL)
    return lambda: bench.replace(victim)


def stop_a_worker_for_longer_than_its_lease(bench: Bench, victim: Any) -> Any:
    return _stopped(bench, victim, victim.send_to_group)


def stop_a_supervisor_for_longer_than_its_lease(bench: Bench, victim: Any) -> Any:
    return _stopped(bench, victim, victim.send)


def _stopped(bench: Bench, victim: Any, send: Callable[[int], None]) -> Any:
    from taskq_django.models import WorkerProcess
    from tests.support.workers import wait_for

    told = victim.output.count("under a new id")
    send(signal.SIGSTOP)
    while not _is_writable():  # an SQLite file is locked by who is stopped as it writes, for all and for as long
        send(signal.SIGCONT)
        time.sleep(0.01)
        send(signal.SIGSTOP)

    def mend() -> None:
        rows = WorkerProcess.objects.filter(supervisor=None, pid=victim.process.pid)
        wait_for(lambda: not rows.exists(), what=lambda: "\n".join(worker.output for worker in bench.workers))
        send(signal.SIGCONT)
        wait_for(lambda: victim.output.count("under a new id") > told, what=lambda: victim.output)
        wait_for(lambda: len(victim.children()) == 1, what=lambda: victim.output)

    return mend


def _is_writable() -> bool:
    import sqlite3

    from django.db import connection

    if connection.vendor != "sqlite":
        return True
    with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=1, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        other.execute("ROLLBACK")
    return True


def ask_a_worker_to_stop(bench: Bench, victim: Any) -> Any:
    victim.send(signal.SIGTERM)
    return lambda: bench.replace(victim)


def cut_all_connections(bench: Bench, victim: Any) -> None:
    from tests.support.workers import cut_other_connections

    cut_other_connections()


def take_the_database_away_for_longer_than_a_lease(bench: Bench, victim: Any) -> None:
    assert bench.proxy is not None
    bench.proxy.take_down()
    time.sleep(1.2)  # the length of the outage
    bench.proxy.bring_up()


def kill_the_server(bench: Bench, victim: Any) -> None:
    from django.db import connection

    bench.server.kill()
    connection.close()
    bench.server.start()


def freeze_the_server_for_longer_than_a_lease(bench: Bench, victim: Any) -> None:
    bench.server.freeze()
    time.sleep(1.2)  # the length of the fault
    bench.server.thaw()


def leave_a_settle_unanswered(bench: Bench, victim: Any) -> None:
    _unanswered(bench, b'INSERT INTO [`"]?taskq_django_jobresult|COMMIT')


def leave_a_claim_unanswered(bench: Bench, victim: Any) -> None:
    _unanswered(bench, b"SET status = 'RUNNING'|COMMIT")


def _unanswered(bench: Bench, words: bytes) -> None:
    """The next words like these that any worker sends: the server acts on them, and its answer is lost."""
    from tests.support.workers import wait_for

    assert bench.proxy is not None
    cuts = bench.proxy.cuts
    bench.proxy.cut_after = words
    wait_for(lambda: bench.proxy.cuts > cuts)  # type: ignore[union-attr]


LATE = {stop_a_worker_for_longer_than_its_lease, stop_a_supervisor_for_longer_than_its_lease}
FAULTS = [
    kill_a_process,
    kill_a_worker,
    kill_a_supervisor,
    *sorted(LATE, key=lambda fault: fault.__name__),
    ask_a_worker_to_stop,
]
OF_SERVERS = [
    cut_all_connections,
    take_the_database_away_for_longer_than_a_lease,
    kill_the_server,
    freeze_the_server_for_longer_than_a_lease,
    leave_a_settle_unanswered,
    leave_a_claim_unanswered,
]


# --- the program ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", nargs="+", default=["sqlite", "postgresql", "mariadb"])
    parser.add_argument("--broker", choices=["database", "redis"], default="database")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--only", nargs="+", help="Only these faults, by the names of their functions.")
    parser.add_argument("--out", type=Path, help="For one database: write the figures there, as JSON.")
    parser.add_argument("--merge", type=Path, nargs="+", help="Only write the table, from such files.")
    asked = parser.parse_args()
    if asked.merge:
        write_table(merged(json.loads(path.read_text()) for path in asked.merge), TABLES[asked.broker])
    elif asked.out:
        soak(asked.db[0], asked.times, asked.only, asked.broker, asked.out)
    else:
        with tempfile.TemporaryDirectory(prefix="taskq-soak-") as folder:
            files = [Path(folder) / f"{database}.json" for database in asked.db]
            for database, file in zip(asked.db, files, strict=True):
                flags = ["--broker", asked.broker, "--db", database, "--times", str(asked.times), "--out", str(file)]
                flags += ["--only", *asked.only] if asked.only else []
                subprocess.run([sys.executable, "-m", "tests.soak", *flags], check=True, cwd=ROOT)
            write_table([json.loads(file.read_text()) for file in files], TABLES[asked.broker])


def soak(database: str, times: int, only: Iterable[str] | None, broker: str, out: Path) -> None:
    """``only``: the names of the faults, where not all of them are wanted. The figures are written after each ten."""
    from tests.support import services

    server = None if database == "sqlite" else services.start_own(database)
    os.environ["TASKQ_TEST_DB"] = database
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.db import connection

    connection.creation.create_test_db(verbosity=0)
    figures: dict[str, Figures] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="taskq-soak-") as folder:
            kind, all_faults = kind_of(broker, has_server=bool(server))
            bench = kind(Path(folder), server)
            faults = [fault for fault in all_faults if not only or fault.__name__ in only]
            try:
                for number in range(1, times + 1):
                    for fault in faults:
                        figures.setdefault(fault.__name__, Figures()).add(bench.round(fault))
                    if number % 10 == 0 or number == times:
                        out.write_text(json.dumps(told(figures, broker)))
                        print(database, number, {name: vars_of(each) for name, each in figures.items()}, flush=True)
            finally:
                bench.stop()
    finally:
        connection.creation.destroy_test_db(str(connection.settings_dict["NAME"]), verbosity=0)


def told(figures: dict[str, Figures], broker: str) -> dict[str, Any]:
    import django
    from django.db import connection

    version = ".".join(map(str, connection.get_database_version()))
    name = connection.display_name if broker == "database" else f"Redis with {connection.display_name}"
    return {
        "database": f"{name} {version}",
        "django": django.get_version(),
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "figures": {name: vars_of(each) for name, each in figures.items()},
    }


def kind_of(broker: str, *, has_server: bool) -> tuple[Any, list[Any]]:
    """The bench, and its faults."""
    faults = FAULTS + (OF_SERVERS if has_server else [])
    if broker == "database":
        return Bench, faults
    from tests import soak_messages

    return soak_messages.MessageBench, faults + soak_messages.FAULTS


def vars_of(figures: Figures) -> dict[str, Any]:
    waits = figures.recovery
    return {
        **{name: getattr(figures, name) for name in Figures.__dataclass_fields__ if name != "recovery"},
        "p50": round(statistics.median(waits), 2) if waits else None,
        "max": round(max(waits), 2) if waits else None,
    }


def merged(soaks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for each database: the faults of one may be in several files."""
    found: dict[str, dict[str, Any]] = {}
    for each in soaks:
        first = found.setdefault(each["database"], each)
        first["figures"] = {**first["figures"], **each["figures"]}
    return list(found.values())


def write_table(soaks: list[dict[str, Any]], table: Path) -> None:
    lines = [".. Written by tests.soak.", ""]
    for each in soaks:
        title = f"{each['database']}, Django {each['django']}, Python {each['python']}; {each['at'][:10]}"
        lines += [f".. csv-table:: {title}", "   :header-rows: 1", ""]
        lines.append("   fault,times,jobs,lost,forgotten,run twice,at once,overwritten,again after (p50 s),(max s)")
        for name, row in each["figures"].items():
            shown = [
                row.get(key, 0)
                for key in (
                    "times",
                    "jobs",
                    "lost",
                    "forgotten",
                    "duplicated",
                    "overlapped",
                    "overwritten",
                    "p50",
                    "max",
                )
            ]
            lines.append(
                f"   {name.replace('_', ' ')}," + ",".join("–" if each is None else str(each) for each in shown)
            )
        lines.append("")
    table.write_text("\n".join(lines))


if __name__ == "__main__":
    from tests.soak import main as imported  # so that faults are the same for all who import them

    imported()

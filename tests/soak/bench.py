"""Two workers, what they run, and a round of one fault."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .figures import Figures

ROOT = Path(__file__).parents[2]
HASTY = {"WORKER": {"HEARTBEAT": 0.2, "LEASE": 0.8, "MAINTENANCE": 0.4}}
JOBS, SECONDS = 10, 0.3

# After these, what a victim has begun may end after the others have run it.
LATE: set[Any] = set()


def late(fault: Any) -> Any:
    LATE.add(fault)
    return fault


def wait_for(condition: Callable[[], object], **more: Any) -> None:
    """As in tests, but with fewer looks: several soaks at once would slow each other by these."""
    from tests.support import workers

    workers.wait_for(condition, **{"every": 0.05, **more})


class Bench:
    """Two workers, their ledger, and the proxy between them and a server of the bench's own."""

    def __init__(self, folder: Path, server: Any, disk: Path | None, *more: str, pooled: bool = False) -> None:
        """``disk``: what the database is on, if it can be filled; ``more``: lines of the settings of its workers."""
        from django.db import connection

        from tests.support.clocks import HostClock
        from tests.support.late_app import LateApp
        from tests.support.proxy import FaultProxy

        self.folder, self.server, self.disk = folder, server, disk
        self.rounds = 0
        self.proxy: FaultProxy | None = None
        self.pooler: Any = None
        self.late = LateApp(folder)
        self.late.write("deadly", "import os; os._exit(9)\n\n@task\ndef never() -> None: ...\n")
        lines = ["from tests.settings import *", f"TASKQ = {HASTY!r}", "del DATABASES['other']", *more]
        lines.append("INSTALLED_APPS = [*INSTALLED_APPS, 'late', 'tests.support.rude_receivers.Rude']")
        if connection.vendor != "sqlite":
            lines.append(f"DATABASES['default'].update({self._place_of_database(pooled)!r})")
        (folder / "soak_settings.py").write_text("\n".join(lines))
        self.rude = folder / "rude"
        self.rude.write_text("")
        self.host, self.clock = HostClock(folder), self._make_clock()
        self.env = {
            "DJANGO_SETTINGS_MODULE": "soak_settings",
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            **self.host.env,
            "RUDE": str(self.rude),
            "RUDE_SIGNALS": "after_run run_failed run_retried result_recorded task_finished",
        }
        self.workers = [self.start(), self.start()]

    def _place_of_database(self, pooled: bool) -> dict[str, Any]:
        """Behind the proxy, and perhaps a pooler."""
        from django.db import connection

        from tests.support.poolers import PgBouncer
        from tests.support.proxy import FaultProxy

        entry = connection.settings_dict
        place: dict[str, Any] = {"HOST": entry["HOST"], "PORT": int(entry["PORT"])}
        if pooled:
            self.pooler = PgBouncer(entry, sessions=20)
            place = self.pooler.place()
        self.proxy = FaultProxy(place["HOST"], place["PORT"])
        return {**place, "HOST": "127.0.0.1", "PORT": self.proxy.port}

    def _make_clock(self) -> Any:
        """The workers' PostgreSQL asks it before its own. Set for the database, because a pooler keeps no options."""
        from django.db import connection

        from tests.support.clocks import PostgreSQLClock

        if connection.vendor != "postgresql":
            return None
        name = connection.ops.quote_name(str(connection.settings_dict["NAME"]))
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET search_path = {PostgreSQLClock.SEARCH_PATH}")
        return PostgreSQLClock()

    def step_clock(self, seconds: float) -> None:
        """To what it says without steps and so many seconds more."""
        self.host.step(seconds)
        if self.clock:
            self.clock.step(seconds)

    @property
    def name(self) -> str:
        """Of all that holds its jobs, with the versions."""
        from django.db import connection

        version = ".".join(map(str, connection.get_database_version()))
        behind = f" behind {self.pooler.version}" if self.pooler else ""
        return f"{connection.display_name} {version}{behind}"

    @contextmanager
    def project(self) -> Iterator[Any]:
        """A cursor on a connection of the project's own, which is cut at the end."""
        from django.db import connection

        own = connection.copy()
        try:
            with own.cursor() as cursor:
                yield cursor
        finally:
            own.close()

    def outputs(self) -> str:
        """What the workers have told last, and the jobs that are left."""
        from taskq_django.models import QueuedJob

        told = [worker.output[-3000:] for worker in self.workers]
        return "\n".join([*told, *(str(row) for row in QueuedJob.objects.values())])

    def start(self) -> Any:
        from tests.support.workers import RealWorker

        worker = RealWorker("-t", "3", env=self.env).wait_until_ready()
        wait_for(worker.children, what=lambda: worker.output)
        return worker

    def replace(self, worker: Any) -> None:
        worker.stop()
        self.workers[self.workers.index(worker)] = self.start()

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()
        for each in (self.proxy, self.pooler):
            if each:
                each.close()

    def round(self, fault: Callable[[Bench, Any], Any]) -> Figures:
        """Inject the fault once, wait until every job has ended and the workers are whole again."""
        from tests.support.ledger import Ledger

        self.rounds += 1
        ledger = Ledger(self.folder / f"ledger{self.rounds}")
        victim = random.choice(self.workers)
        ids = self.enqueue(str(ledger.path))
        wait_for(lambda: ledger.started() >= 3, what=lambda: victim.output, every=0.01)
        time.sleep(random.uniform(0, SECONDS))  # at any point of what they do
        at, begun = time.monotonic(), set(ledger.stories())
        mend = fault(self, victim)
        forgotten = self.wait_for_end(ids, ledger, fault) - begun
        before = story_of(ids)
        if mend:
            mend()
        if fault in LATE:
            wait_for(lambda: not ledger.running(), what=lambda: victim.output)
        after = story_of(ids)
        figures = Figures(
            times=1,
            jobs=JOBS,
            lost=len(ledger.lost(ids) - forgotten),
            forgotten=len(forgotten),
            duplicated=ledger.duplicated(),
            overlapped=ledger.overlapped(),
            overwritten=sum(before[id_] != after[id_] for id_ in after),
            recovery=ledger.recovery(at),
        )
        if figures.lost or figures.overwritten:
            changed = {id_: (before.get(id_), after.get(id_)) for id_ in ids if before.get(id_) != after.get(id_)}
            print(fault.__name__, changed, ledger.path.read_text(), self.outputs(), sep="\n", flush=True)
        return figures

    def enqueue(self, path: str) -> set[str]:
        from tests.app import tasks

        return {result.id for result in tasks.ledgered.enqueue_many([(path, SECONDS)] * JOBS)}

    def wait_for_end(self, ids: set[str], ledger: Any, fault: Any) -> set[str]:
        """Until each has a result; the ids of those of which there is none."""
        from taskq_django.models import JobResult

        def ended() -> bool:
            return JobResult.objects.filter(id__in=ids).count() == len(ids)

        wait_for(ended, timeout=180, what=self.outputs)
        return set()


def story_of(ids: Iterable[str]) -> dict[str, Any]:
    from taskq_django.models import JobResult

    rows = JobResult.objects.filter(id__in=list(ids))
    return {str(row.id): (row.status, row.attempts, row.worker_id, row.finished_at) for row in rows}

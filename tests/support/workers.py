"""Real workers for tests: processes of their own, on the database of the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import IO

from django.db import OperationalError, connection, connections

from .servers import children_of

ROOT = Path(__file__).parents[2]
# Only a guard against hanging: on a busy machine a process may stand still for seconds, and take ten for its start.
PATIENCE = 60.0  # seconds


def _as_from_a_terminal() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class RealWorker:
    """``manage.py taskq_worker`` as a user starts it."""

    command = "taskq_worker"

    def __init__(
        self,
        *flags: str,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        python: str = sys.executable,
        folder: Path = ROOT,
    ) -> None:
        """``prefix``: a command that starts it; ``folder``: where the project is."""
        self._log: IO[str] = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 - closed by stop
        self.process = subprocess.Popen(
            [*prefix, python, "-m", "django", self.command, *flags],
            cwd=folder,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "TASKQ_TEST_NAME": str(connection.settings_dict["NAME"]),
                "TASKQ_TEST_OTHER_NAME": str(connections["other"].settings_dict["NAME"]),
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # As from a terminal, though whoever runs the tests may ignore these: a shell's background job does.
            preexec_fn=_as_from_a_terminal,
            # A group of its own, so that a signal can be sent as a terminal sends it: to all of them.
            start_new_session=True,
        )

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text(errors="replace")  # it may be in the middle of a character

    def wait_until_ready(self) -> RealWorker:
        wait_for(lambda: "Ready" in self.output or self.process.poll() is not None, what=lambda: self.output)
        assert self.process.poll() is None, self.output
        return self

    def seconds_between_deaths(self) -> list[float]:
        """Of its processes, by its log."""
        moments = [datetime.fromisoformat(line[:23]) for line in self.output.splitlines() if " died: " in line]
        return [(after - before).total_seconds() for before, after in pairwise(moments)]

    def children(self) -> list[int]:
        return children_of(self.process.pid)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def send_to_group(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def wait(self, timeout: float = PATIENCE) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It did not end within {timeout} s:\n{self.output}") from None

    def stop(self) -> None:
        """Whatever state it is in; leaves no process behind."""
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()


class RealBeat(RealWorker):
    """``manage.py taskq_beat``"""

    command = "taskq_beat"


def wait_for(
    condition: Callable[[], object],
    *,
    timeout: float = PATIENCE,
    what: Callable[[], str] = lambda: "",
    every: float = 0.01,
) -> None:
    """Until the condition holds, which is looked at ``every`` so many seconds; fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"Waited {timeout} s in vain. {what()}"
        time.sleep(every)  # between two looks at another process; the condition decides


@contextmanager
def nobody_writes() -> Iterator[None]:
    """To an SQLite file: who is stopped as it writes would hold up all. Elsewhere the server ends its session."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def cut_other_connections() -> int:
    """End every connection to this test's database but our own, on the server's side; returns how many."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            count: int = cursor.fetchone()[0]
            return count
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
        ids = [id_ for (id_,) in cursor.fetchall()]
        for id_ in ids:
            with suppress(OperationalError):  # it has ended by itself
                cursor.execute("KILL %s", [id_])
        return len(ids)

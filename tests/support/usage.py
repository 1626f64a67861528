"""What processes keep: memory, files, threads, and connections to the database (needs Linux). What an act takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.db import connection


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process."""

    mib: float  # its own pages, and its share of those that processes share (PSS)
    own: float  # MiB without files, of which its share grows when other processes end
    files: int
    threads: int


def usage_of(pid: int) -> Usage:
    process = Path(f"/proc/{pid}")
    lines = [line.split() for line in (process / "smaps_rollup").read_text().splitlines()[1:]]
    mib = {name: int(kib) / 1024 for name, kib, *_ in lines}
    files, threads = (len(list((process / kind).iterdir())) for kind in ("fd", "task"))
    return Usage(mib["Pss:"], mib["Anonymous:"], files, threads)


_CONNECTIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    "sqlite": "SELECT 0",  # they are files
}


def others_connected() -> int:
    """How many connections to this test's database there are but our own."""
    with connection.cursor() as cursor:
        cursor.execute(_CONNECTIONS[connection.vendor])
        count: int = cursor.fetchone()[0]
        return count


Clock = Callable[[], float]


def seconds_of(act: Callable[[], object], times: int = 3, clock: Clock = time.monotonic) -> float:
    """Of the fastest of so many: what else the machine does only makes it longer."""
    taken = []
    for _ in range(times):
        begun = clock()
        act()
        taken.append(clock() - begun)
    return min(taken)


def takes_at_most(seconds: float, act: Callable[[], object], tries: int = 5, clock: Clock = time.monotonic) -> bool:
    """Does an act that may be repeated, in one of so many tries?"""
    return any(seconds_of(act, 1, clock) <= seconds for _ in range(tries))


def cpu_seconds() -> float:
    """So far: of this process and, on a PostgreSQL of this host, of the one that serves its connection.

    Of MariaDB, whose server is one process for all, it is the time that has passed.
    """
    if connection.vendor == "mysql":
        return time.monotonic()
    if connection.vendor == "sqlite":
        return time.process_time()
    served = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat").read_text()
    return time.process_time() + int(served.split()[0]) / 1e9

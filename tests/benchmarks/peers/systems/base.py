"""What the harness asks of a system. Its module is imported by the driver, and by its own workers for the tasks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VARIANT = os.environ.get("BENCH_VARIANT", "pg")
IS_SQLITE = "sqlite" in VARIANT
QUEUES = 1000
BIN = Path(sys.executable).parent
# A value for a column of a cloned row.
NEW_UUID = "lower(hex(randomblob(16)))" if IS_SQLITE else "gen_random_uuid()"
SKIP = ""  # let the database number it


class System:
    distributions: tuple[str, ...] = ()
    config = ""
    jobs = 1000  # of a drain: some seconds of work
    tables: tuple[str, ...] = ()  # emptied between measurements; analyzed before them
    has_bulk = False
    naps: tuple[str, ...] = ()  # "threads", "coroutines": how it can run 100 sleeping tasks at once
    scenes: tuple[str, ...] = ("snapshot",)  # of "history", "future", "paused", "snapshot"
    also: tuple[str, ...] = ()  # steps in which not all take part: "long", "queues", "producers", "orm"
    waiting = 1_000_000  # jobs of a long drain: more than it reaches

    # --- to be written -------------------------------------------------------------------------------------------

    def enqueue_one(self, n: int) -> None:
        raise NotImplementedError

    def enqueue_bulk(self, first: int, end: int) -> None:
        raise NotImplementedError

    def enqueue_naps(self, count: int, kind: str) -> None:
        raise NotImplementedError

    def enqueue_in_queues(self, count: int) -> None:
        """Evenly in the queues of ``queues()``, one queue after the other."""
        raise NotImplementedError

    def enqueue_orm(self, count: int) -> None:
        raise NotImplementedError

    def worker(self, processes: int, mode: str) -> list[list[str]]:
        """Commands to start; mode: "noop", "orm", "threads" or "coroutines" (100 at once)."""
        raise NotImplementedError

    def left(self) -> int:
        """Jobs whose end is not stored yet, without those of a scene."""
        raise NotImplementedError

    def add_history(self, rows: int) -> None: ...

    def add_future(self, rows: int) -> None: ...

    def add_paused(self, rows: int) -> None: ...

    # --- inherited -----------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Any:
        from django.db import connection

        return connection

    def prepare(self) -> None:
        """A new database with the system's tables."""
        settings = self.connection.settings_dict
        if IS_SQLITE:
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{settings['NAME']}{suffix}").unlink(missing_ok=True)
        else:
            self.drop()
            with self.connection._nodb_cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {settings['NAME']}")
        self.connect()
        self.migrate()

    def connect(self) -> None:
        """First in each process that enqueues."""

    def migrate(self) -> None:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def destroy(self) -> None:
        self.connection.close()
        if not IS_SQLITE:
            self.drop()

    def drop(self) -> None:
        with self.connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {self.connection.settings_dict['NAME']} WITH (FORCE)")

    def clear(self) -> None:
        if IS_SQLITE:
            for table in self.tables:
                self.execute(f"DELETE FROM {table}")
        else:
            self.execute(f"TRUNCATE {', '.join(self.tables)} RESTART IDENTITY CASCADE")

    def analyze(self) -> None:
        """Fresh statistics, and no checkpoint soon."""
        if IS_SQLITE:
            self.execute("ANALYZE")
            return
        self.execute(f"VACUUM ANALYZE {', '.join(self.tables)}")
        self.execute("CHECKPOINT")

    def enqueue(self, count: int, first: int = 0) -> None:
        for n in range(first, first + count):
            self.enqueue_one(n)

    def enqueue_all(self, count: int) -> None:
        """The fastest way that the system offers."""
        if not self.has_bulk:
            return self.enqueue(count)
        for first in range(0, count, 1000):
            self.enqueue_bulk(first, min(count, first + 1000))
        return None

    def queues(self, count: int) -> Iterator[tuple[str, range]]:
        """A thousand names, and which of ``count`` jobs go there."""
        for n in range(QUEUES):
            yield f"queue{n}", range(n * count // QUEUES, (n + 1) * count // QUEUES)

    def execute(self, sql: str) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone() if cursor.description else None

    def count(self, sql: str) -> int:
        return int(self.execute(f"SELECT count(*) FROM {sql}")[0])

    def clone(self, table: str, rows: int, **values: str) -> None:
        """``rows`` copies of a row of the table; ``values``: SQL for columns that differ, SKIP for a default."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} LIMIT 1")
            assert cursor.fetchone(), f"{table} has no row to copy"
            columns = [column[0] for column in cursor.description if values.get(column[0]) != SKIP]
            chosen = ", ".join(values.get(name, f'"{name}"') for name in columns)
            names = ", ".join(f'"{name}"' for name in columns)
            cursor.execute(
                f"WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {rows}) "
                f"INSERT INTO {table} ({names}) SELECT {chosen} FROM (SELECT * FROM {table} LIMIT 1) AS one, g"
            )

    def server_pids(self, own: bool) -> list[int]:
        """PostgreSQL's processes that serve this database, with or without that of this connection."""
        if IS_SQLITE:
            return []
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pid, pg_backend_pid() FROM pg_stat_activity WHERE datname = current_database()")
            return [pid for pid, mine in cursor.fetchall() if own or pid != mine]

    def engine_pids(self) -> list[int]:
        """Of a server beside the database that carries the jobs."""
        return []

    def server_version(self) -> str:
        sql = "SELECT 'SQLite ' || sqlite_version()" if IS_SQLITE else "SELECT version()"
        return str(self.execute(sql)[0]).split(" (")[0].split(" on ")[0]

    # --- what the bare driver takes for what taskq_django writes; only that has it ----------------------------------

    has_raw_bulk = False

    def raw_insert(self, count: int) -> None:
        """``count`` jobs, one by one."""
        raise NotImplementedError

    def raw_bulk(self, count: int) -> None:
        """The same, 1,000 at a time."""
        raise NotImplementedError

"""Clocks that are put forward and back under running processes: their own, and that of their PostgreSQL."""

from __future__ import annotations

import shutil
from pathlib import Path

from django.db import connection


class HostClock:
    """That of processes with ``env`` whose PYTHONPATH begins with the folder."""

    def __init__(self, folder: Path) -> None:
        self._shift = folder / "shift"
        self._shift.write_text("0")
        shutil.copy(Path(__file__).with_name("shifted_clock.py"), folder / "sitecustomize.py")
        self.env = {"TASKQ_TEST_SHIFT": str(self._shift)}

    def step(self, seconds: float) -> None:
        """To what it says without steps, and so many seconds more."""
        following = self._shift.with_name("next")
        following.write_text(str(seconds))
        following.replace(self._shift)  # nobody reads a part


class PostgreSQLClock:
    """That of the sessions with ``SEARCH_PATH`` in the test's database: they find its function before the server's."""

    SEARCH_PATH = "stepped,pg_catalog,public"

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA stepped")
            cursor.execute("CREATE TABLE stepped.clock AS SELECT interval '0 s' AS by")
            cursor.execute(
                "CREATE FUNCTION stepped.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS "
                "'SELECT pg_catalog.statement_timestamp() + (SELECT by FROM stepped.clock)'"
            )

    def step(self, seconds: float) -> None:
        """As that of a host."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE stepped.clock SET by = %s * interval '1 s'", [seconds])

    def remove(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA stepped CASCADE")

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from taskq_django.store.connections import welcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An SQLite file."""
    with closing(sqlite3.connect(tmp_path / "db")) as made:
        made.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    return tmp_path / "db"


@pytest.fixture
def guest(path: Path, django_db_blocker: Any) -> Iterator[Any]:
    """The connection of a task to that file; ``atomic(using="guest")`` finds it."""
    made = connections.create_connection("default")
    made.settings_dict = {**made.settings_dict, "NAME": str(path), "OPTIONS": {}}
    made.alias, made.transaction_mode = "guest", None
    connections.databases["guest"] = made.settings_dict
    connections["guest"] = made
    welcome(made)
    with django_db_blocker.unblock():
        yield made
        made.close()
    del connections["guest"], connections.databases["guest"]


ELSEWHERE = """
import sqlite3, sys
web = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for sql in sys.stdin:
    try:
        web.execute(sql).fetchall()
        print("done", flush=True)
    except sqlite3.OperationalError as error:
        print(error, flush=True)
"""


@pytest.fixture
def elsewhere(path: Path) -> Iterator[Callable[[], Callable[[str], str]]]:
    """Makes a process that executes what it is told, waits for no lock, and answers "done" or an error."""
    started: list[subprocess.Popen[str]] = []

    def start() -> Callable[[str], str]:
        command = [sys.executable, "-c", ELSEWHERE, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)

        def tell(sql: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            print(sql, file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        return tell

    yield start
    for process in started:
        process.communicate(timeout=60)

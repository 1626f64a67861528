"""Faults of the clock and of the disk, and what else a project does in its database."""

from __future__ import annotations

import random
import time
from typing import Any

from .bench import Bench


def step_the_clock(bench: Bench, victim: Any) -> Any:
    """Of the workers and of their database; of MariaDB and MySQL the workers' alone, which nobody should notice."""
    bench.step_clock(random.choice([3600.0, -3600.0, 60.0, -60.0, 1.0, -1.0]))
    return lambda: bench.step_clock(0.0)


def fill_the_disk(bench: Bench, victim: Any) -> None:
    from django.db import connection

    from tests.support.small_disk import Ballast

    assert bench.disk is not None
    ballast = Ballast(bench.disk)
    ballast.fill()
    time.sleep(1.2)  # the length of the fault
    ballast.remove()
    if bench.server:
        connection.close()
        bench.server.start()  # some end themselves when they cannot write their journal


def lock_the_table_of_jobs(bench: Bench, victim: Any) -> None:
    with bench.project() as project:
        project.execute(
            {
                "sqlite": "BEGIN EXCLUSIVE",
                "postgresql": "BEGIN; LOCK TABLE taskq_django_queuedjob IN ACCESS EXCLUSIVE MODE",
                "mysql": "LOCK TABLES taskq_django_queuedjob WRITE",
            }[project.db.vendor]
        )
        time.sleep(1.2)  # the length of the fault


def hold_an_old_snapshot(bench: Bench, victim: Any) -> Any:
    opened = bench.project()
    project = opened.__enter__()
    project.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") if project.db.vendor == "mysql" else None
    project.execute("BEGIN ISOLATION LEVEL REPEATABLE READ" if project.db.vendor == "postgresql" else "BEGIN")
    project.execute("SELECT COUNT(*) FROM taskq_django_queuedjob")
    project.fetchall()
    return lambda: opened.__exit__(None, None, None)


FAULTS = [step_the_clock, fill_the_disk, lock_the_table_of_jobs, hold_an_old_snapshot]

"""How the progress of running jobs is written: the newest of each, a whole group in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...jobs import Claim, Progress
from ...models import JobProgress
from .base import excluded
from .packets import ID, TEXT, as_json, table

TABLE = JobProgress._meta.db_table
MOMENT = 50  # milliseconds
COLUMNS = "done, total, text, updated_at, attempt"

# One JSON parameter for a whole group as the table ``o``, so that the statement is the same for any number of jobs.
SAID = {
    "postgresql": "json_to_recordset(%s) AS o(id uuid, attempt int, done float8, total float8, text text)",
    "mysql": table(f"id {ID}, attempt INT, done DOUBLE, total DOUBLE, text VARCHAR(255) {TEXT}"),
    "sqlite": "(SELECT {} FROM json_each(%s)) AS o".format(
        ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in ("id", "attempt", "done", "total", "text"))
    ),
}
NOW = {
    "postgresql": "statement_timestamp()",
    "mysql": "UTC_TIMESTAMP(6)",
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')",
}

# A worker that has lost its claim changes nothing: once a later attempt has said something, it is not heard any more.
CONFLICT = f"ON CONFLICT (job_id) DO UPDATE SET {excluded(COLUMNS)} WHERE {TABLE}.attempt <= excluded.attempt"
# Assignments take effect from left to right: the attempt is the last, so that it is compared before it is changed.
CONFLICT_OF_MYSQL = "ON DUPLICATE KEY UPDATE " + ", ".join(
    f"{name} = IF({TABLE}.attempt <= VALUES(attempt), VALUES({name}), {TABLE}.{name})" for name in COLUMNS.split(", ")
)

WRITE = {
    vendor: f"""
INSERT INTO {TABLE} (job_id, {COLUMNS})
SELECT id, done, total, text, {NOW[vendor]}, attempt FROM {said} WHERE true
{CONFLICT_OF_MYSQL if vendor == "mysql" else CONFLICT}"""
    for vendor, said in SAID.items()
}


def write_progress(cursor: CursorWrapper, said: Sequence[tuple[Claim, Progress]]) -> None:
    """Over what those jobs, each of them once here, have said before. The rows are locked in the order of their ids."""
    records = [
        {
            "id": claim.job.id.replace("-", ""),
            "attempt": claim.attempt,
            "done": progress.done,
            "total": progress.total,
            "text": progress.text,
        }
        for claim, progress in sorted(said, key=lambda each: each[0].job.id)
    ]
    cursor.execute(WRITE[cursor.db.vendor], [as_json(records)])


def is_one_statement(connection: BaseDatabaseWrapper) -> bool:
    """Does it need no transaction round it? On SQLite every write of ours begins when it is its turn."""
    return connection.vendor != "sqlite"


@contextmanager
def waiting_for_nobody(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """On SQLite, where one transaction keeps all others waiting for as long as it lasts.

    It may be that of the very task whose progress is written: while the loop waited, nobody would look at time limits.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    connection.ensure_connection()
    raw = connection.connection
    with connection.wrap_database_errors:
        (before,) = raw.execute("PRAGMA busy_timeout").fetchone()
        raw.execute(f"PRAGMA busy_timeout = {MOMENT}")
    try:
        yield
    finally:
        if connection.connection is raw:  # else it was let go, and the next one is as the project has it
            with connection.wrap_database_errors:
                raw.execute(f"PRAGMA busy_timeout = {before}")

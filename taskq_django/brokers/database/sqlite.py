"""SQLite ≥ 3.35. One writer at a time: every write is one short transaction, and an idle worker never writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...jobs import Claim, Ended, Failed, Job, Retried, Returned
from ..base import Bell
from .bells import DataVersionBell
from .dialect import (
    ATTEMPT,
    JOB,
    PROMOTED_AT_ONCE,
    RESULT,
    Dialect,
    as_json,
    attempt_record,
    ended_record,
    put_back_record,
)

INSERT = f"""
INSERT INTO {JOB} (id, task_path, backend, queue_name, status, rank, available_at, enqueued_at, run_after, expires_at,
                   payload, headers, tries, attempts, crashes)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0)"""

# || '' makes the dates plain text, past Django's converter, which is slow.
CLAIM = f"""
UPDATE {JOB} SET status = 'RUNNING', attempts = attempts + 1, token = %s, worker_id = %s, claimed_at = %s
WHERE id IN (SELECT id FROM {JOB} WHERE backend = %s AND status = 'READY' AND queue_name = %s
             ORDER BY rank, available_at, id LIMIT %s)
RETURNING id, task_path, payload, rank, headers, tries, attempts, crashes, enqueued_at || '', available_at || ''"""

END_RECORDS = """
SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.token') AS token,
       json_extract(value, '$.status') AS status,
       json_extract(value, '$.began') AS began, json_extract(value, '$.ended') AS ended,
       json_extract(value, '$.keep') AS keep, json_extract(value, '$.value') AS value,
       json_extract(value, '$.class') AS class, json_extract(value, '$.message') AS message
FROM json_each(%s)"""

KEEP = f"""
INSERT INTO {RESULT} (id, task_path, backend, queue_name, priority, status, enqueued_at, run_after, started_at,
                      last_attempted_at, finished_at, payload, headers, tries, attempts, crashes, worker_id,
                      return_value, exception_class, message)
SELECT job.id, task_path, backend, queue_name, -rank, o.status, enqueued_at, run_after, COALESCE(started_at, o.began),
       o.began, o.ended, payload, headers, tries + (o.status = 'FAILED'), attempts, crashes, worker_id,
       o.value, o.class, o.message
FROM ({END_RECORDS}) AS o CROSS JOIN {JOB} job ON job.id = o.id AND job.token = o.token WHERE o.keep"""

# CROSS JOIN keeps SQLite from turning the loops round: the group is small, the table may not be.
REMOVE = f"""
DELETE FROM {JOB} WHERE id IN (
  SELECT job.id FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.token') AS token
                      FROM json_each(%s)) AS o CROSS JOIN {JOB} job ON job.id = o.id AND job.token = o.token)
RETURNING id"""

PUT_BACK = f"""
UPDATE {JOB} SET status = %s, available_at = COALESCE(%s, available_at), tries = tries + %s,
  attempts = attempts - 1 + %s,
  started_at = CASE WHEN %s THEN COALESCE(started_at, claimed_at) ELSE started_at END,
  token = NULL, worker_id = NULL, claimed_at = NULL
WHERE id = %s AND token = %s"""

RECORD_ATTEMPT = f"""
INSERT INTO {ATTEMPT} (job_id, number, worker_id, started_at, finished_at, exception_class, message, traceback)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""

NEXT_DUE = f"SELECT MIN(available_at) FROM {JOB} WHERE backend = %s AND status = 'SCHEDULED'"

PROMOTE = f"""
UPDATE {JOB} SET status = 'READY', available_at = %s WHERE id IN (
  SELECT id FROM {JOB} WHERE backend = %s AND status = 'SCHEDULED' AND available_at <= %s
  ORDER BY available_at LIMIT {PROMOTED_AT_ONCE})"""


class SQLite(Dialect):
    """All its processes are on one host, so the clock of this process is the database's clock.

    Every transaction of ours begins with its write: one that reads first and then writes would fail at
    once, without waiting for its turn, when another process wrote in between.
    """

    def insert(self, cursor: CursorWrapper, jobs: Sequence[Job], ring: bool) -> datetime:
        now = datetime.now(UTC)
        rows = [_job_row(job, now) for job in jobs]
        if len(rows) == 1:
            cursor.execute(INSERT, rows[0])
        else:
            cursor.executemany(INSERT, rows)
        return now

    def claim(
        self, cursor: CursorWrapper, backend: str, queue_name: str, limit: int, worker_id: str, token: str
    ) -> list[Claim]:
        now = datetime.now(UTC)
        cursor.execute(CLAIM, (token, worker_id, _text(now), backend, queue_name, limit))
        rows = cursor.fetchall()
        rows.sort(key=_claim_order)
        moment = now.timestamp()
        return [
            Claim(
                Job(_dashed(id_), path, payload, backend, queue_name, -rank, None, None, None, headers, tries),
                token,
                attempt,
                crashes,
                _seconds(enqueued),
                moment - _seconds(available),
            )
            for id_, path, payload, rank, headers, tries, attempt, crashes, enqueued, available in rows
        ]

    def end(self, cursor: CursorWrapper, outcomes: Sequence[Ended]) -> set[str]:
        records = [_dated(ended_record(outcome, monotonic())) for outcome in outcomes]
        text = as_json(records)
        if any(record["keep"] for record in records):
            cursor.execute(KEEP, [text])
        cursor.execute(REMOVE, [text])
        return {_dashed(id_) for (id_,) in cursor.fetchall()}

    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Returned]) -> set[str]:
        now, changed = datetime.now(UTC), set()
        for outcome in outcomes:
            o = put_back_record(outcome)
            status = "SCHEDULED" if o["delay"] > 0 else "READY"
            available_at = _text(now + timedelta(microseconds=o["delay"])) if o["tried"] else None
            cursor.execute(
                PUT_BACK,
                (status, available_at, o["tried"], o["began"], o["began"], o["id"].replace("-", ""), o["token"]),
            )
            if cursor.rowcount:
                changed.add(o["id"])
        return changed

    def record_attempts(self, cursor: CursorWrapper, outcomes: Sequence[Failed | Retried], worker_id: str) -> None:
        records = [_dated(attempt_record(outcome, worker_id, monotonic())) for outcome in outcomes]
        cursor.executemany(RECORD_ATTEMPT, [tuple(record.values()) for record in records])

    def promote(self, cursor: CursorWrapper, backend: str) -> float | None:
        cursor.execute(NEXT_DUE, [backend])
        due_at: str | None = cursor.fetchone()[0]
        if due_at is None:
            return None
        now = datetime.now(UTC)
        due_in = _seconds(due_at) - now.timestamp()
        if due_in <= 0:
            cursor.execute(PROMOTE, [_text(now), backend, _text(now)])
        return due_in

    def bell(self, connection: BaseDatabaseWrapper) -> Bell:
        return DataVersionBell(connection)


def _text(moment: datetime) -> str:
    """As Django stores it, and always UTC: text then sorts as time."""
    return str(moment.astimezone(UTC).replace(tzinfo=None))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text + "+00:00").timestamp()


def _dashed(id_: str) -> str:
    return f"{id_[:8]}-{id_[8:12]}-{id_[12:16]}-{id_[16:20]}-{id_[20:]}"


def _claim_order(row: Any) -> tuple[int, str, str]:
    return (row[3], row[9], row[0])


def _dated(record: dict[str, Any]) -> dict[str, Any]:
    """The same record with its ages as dates and its id as SQLite stores it."""
    now = datetime.now(UTC)
    record["id"] = record["id"].replace("-", "")
    record["began"] = _text(now - timedelta(microseconds=record["began"]))
    record["ended"] = _text(now - timedelta(microseconds=record["ended"]))
    return record


def _job_row(job: Job, now: datetime) -> tuple[Any, ...]:
    due = job.run_after
    if due is None and job.delay_us is not None:
        due = now + timedelta(microseconds=job.delay_us)
    held = due is not None and due > now
    return (
        job.id.replace("-", ""),
        job.task_path,
        job.backend,
        job.queue_name,
        "SCHEDULED" if held else "READY",
        -job.priority,
        _text(due if held and due else now),
        _text(now),
        _text(due) if due else None,
        _text(job.expires_at) if job.expires_at else None,
        job.payload,
        job.headers,
        job.tries,
    )

"""SQLite ≥ 3.35. One writer at a time: every write is one short transaction, and an idle worker never writes."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import monotonic, time_ns
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import SQLiteCursorWrapper
from django.db.backends.utils import CursorWrapper

from ...jobs import Claim, Ended, Failed, Job, Outcome, Released, Retried, dashed, size_of
from ...sleeper import Bell
from ..weights import HEAVIEST
from .base import (
    ATTEMPT_CONFLICT,
    INTO_ATTEMPTS,
    INTO_RESULTS,
    JOB,
    JOB_COLUMNS,
    NEXT_DUE,
    PROMOTED_AT_ONCE,
    RESULT_CONFLICT,
    VERDICT,
    Dialect,
)
from .bells import DataVersionBell
from .courtesy import Courtesy, Guest
from .records import ended_record, failure_record, put_back_record

INSERT = f"""
INSERT INTO {JOB} ({JOB_COLUMNS.format(rank="rank")})
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""

STAND_IN = f"""
INSERT INTO {JOB} ({JOB_COLUMNS.format(rank="rank")}, sender)
VALUES (%s, %s, %s, %s, 'SCHEDULED', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""

# || '' makes the dates plain text, past Django's converter, which is slow.
CLAIMABLE = f"""
SELECT queue_name, id, task_path, payload, rank, headers, tries, attempts + 1, crashes, losses, enqueued_at || '',
  available_at || '', {VERDICT.format("%s")}
FROM {JOB} WHERE backend = %s AND status = 'READY' AND queue_name = %s ORDER BY rank, available_at, id LIMIT %s"""

CLAIM = f"""
UPDATE OR FAIL {JOB} SET status = 'RUNNING', attempts = attempts + 1, token = %s, worker_id = %s, claimed_at = %s
WHERE id IN (SELECT value FROM json_each(%s))"""

# One row of parameters a job: three quarters of the time of one JSON parameter a group.
HELD = f"SELECT id, token FROM {JOB} WHERE id IN (SELECT value FROM json_each(%s))"

KEEP = f"""
{INTO_RESULTS}
SELECT id, task_path, backend, queue_name, -rank, %s, enqueued_at, run_after,
       COALESCE(started_at, CASE status WHEN 'RUNNING' THEN %s END), CASE status WHEN 'RUNNING' THEN %s END, %s,
       payload, headers, tries + %s, attempts - %s, crashes + %s, worker_id, %s, %s, %s
FROM {JOB} WHERE id = %s {RESULT_CONFLICT}"""

REMOVE = f"DELETE FROM {JOB} WHERE id = %s"

PUT_BACK = f"""
UPDATE {JOB} SET status = %s, available_at = COALESCE(%s, available_at), tries = tries + %s, crashes = crashes + %s,
  losses = losses + %s, attempts = attempts - 1 + %s,
  started_at = CASE WHEN %s THEN COALESCE(started_at, claimed_at) ELSE started_at END,
  sender = CASE WHEN %s THEN NULL ELSE sender END,
  token = NULL, worker_id = NULL, claimed_at = NULL, begun_at = NULL
WHERE id = %s AND token = %s"""

RECORD_FAILURE = f"""
{INTO_ATTEMPTS}
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) {ATTEMPT_CONFLICT}"""

PROMOTE = f"""
UPDATE {JOB} SET status = 'READY', available_at = %s WHERE id IN (
  SELECT id FROM {JOB} WHERE backend = %s AND status = 'SCHEDULED' AND available_at <= %s
  ORDER BY available_at LIMIT {PROMOTED_AT_ONCE})"""


class SQLite(Dialect):
    """All its processes are on one host, so the clock of this process is the database's clock."""

    def __init__(self) -> None:
        self._courtesies: WeakKeyDictionary[BaseDatabaseWrapper, Courtesy] = WeakKeyDictionary()

    def needs(self, connection: BaseDatabaseWrapper) -> str:
        return "" if sqlite3.sqlite_version_info >= (3, 35) else f"SQLite 3.35 (it is {sqlite3.sqlite_version})"

    def transaction(self, connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
        courtesy = self._courtesies.get(connection)
        if courtesy is None:
            courtesy = self._courtesies[connection] = Courtesy(connection)
        return courtesy.transaction()

    def welcome(self, connection: BaseDatabaseWrapper) -> None:
        Guest.welcome(connection)

    def insert(self, cursor: CursorWrapper, jobs: Sequence[Job], ring: bool) -> datetime:
        now = datetime.now(UTC)
        sent_at = as_text(now)
        rows = [_job_row(job, now, sent_at) for job in jobs]
        if len(rows) == 1:
            _execute(cursor, INSERT, rows[0])
        else:
            cursor.executemany(INSERT, rows)
        return now

    def stand_in(self, cursor: CursorWrapper, jobs: Sequence[Job], sender: str, seconds: float) -> datetime:
        now = datetime.now(UTC)
        due = (as_text(now + timedelta(seconds=seconds)),)
        rows = [_job_row(job, now, as_text(now)) for job in jobs]
        cursor.executemany(STAND_IN, [row[:4] + row[5:6] + due + row[7:] + (sender.replace("-", ""),) for row in rows])
        return now

    def claim(
        self, cursor: CursorWrapper, backend: str, queue_names: Sequence[str], limit: int, worker_id: str, token: str
    ) -> list[Claim]:
        now = datetime.now(UTC)
        moment, now_text = now.timestamp(), as_text(now)
        rows: list[Any] = []
        weight = 0
        for queue_name in queue_names:
            _execute(cursor, CLAIMABLE, (now_text, backend, queue_name, limit - len(rows)))
            with cursor.db.wrap_database_errors:
                # Each is read when it is asked for; Django's own iterator would close it at a break.
                for row in cursor.cursor:
                    rows.append(row)
                    weight += size_of(row[3]) + size_of(row[5])  # payload, headers
                    if weight >= HEAVIEST:
                        break
            if weight >= HEAVIEST or len(rows) == limit:
                break
        if rows:
            ids = orjson.dumps([row[1] for row in rows]).decode()
            cursor.execute(CLAIM, (token, worker_id, now_text, ids))
        return [
            Claim(
                Job(dashed(id_), path, text, backend, queue, -rank, headers, tried, begun, died, lost, _posix(at)),
                token,
                moment - _posix(due),
                verdict,
            )
            for queue, id_, path, text, rank, headers, tried, begun, died, lost, at, due, verdict in rows
        ]

    def end(self, cursor: CursorWrapper, outcomes: Sequence[Ended], over: bool = False) -> set[str]:
        held = self._held(cursor, outcomes)
        dated = _dating()
        records = [dated(ended_record(o, monotonic())) for o in outcomes if o.claim.job.id in held]
        cursor.executemany(KEEP, [_kept(record) for record in records if record["keep"]])
        cursor.executemany(REMOVE, [(record["id"],) for record in records])
        return held

    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Released]) -> set[str]:
        now, changed = datetime.now(UTC), set()
        for outcome in outcomes:
            o = put_back_record(outcome)
            status = "SCHEDULED" if o["delay"] > 0 else "READY"
            is_anew = o["tried"] or o["delay"]
            available_at = as_text(now + timedelta(microseconds=o["delay"])) if is_anew else None
            counted = (o["tried"], o["crashed"], o["lost"], o["began"], o["began"], o["own"])
            cursor.execute(PUT_BACK, (status, available_at, *counted, o["id"].replace("-", ""), o["token"]))
            if cursor.rowcount:
                changed.add(o["id"])
        return changed

    def record_failures(self, cursor: CursorWrapper, outcomes: Sequence[Failed | Retried], worker_id: str) -> None:
        dated = _dating()
        records = [dated(failure_record(outcome, worker_id, monotonic())) for outcome in outcomes]
        cursor.executemany(RECORD_FAILURE, [tuple(record.values()) for record in records])

    def next_due(self, cursor: CursorWrapper, backend: str) -> float | None:
        cursor.execute(NEXT_DUE.format("MIN(available_at)"), [backend])
        due_at: str | None = cursor.fetchone()[0]
        return None if due_at is None else _posix(due_at) - datetime.now(UTC).timestamp()

    def promote(self, cursor: CursorWrapper, backend: str) -> None:
        now = as_text(datetime.now(UTC))
        cursor.execute(PROMOTE, [now, backend, now])

    def _held(self, cursor: CursorWrapper, outcomes: Sequence[Outcome]) -> set[str]:
        """The ids of those claims whose rows still carry the claim's token."""
        tokens = {o.claim.job.id.replace("-", ""): o.claim.receipt for o in outcomes}
        cursor.execute(HELD, [orjson.dumps(list(tokens)).decode()])
        return {dashed(id_) for id_, token in cursor.fetchall() if token == tokens[id_]}

    def bell(self, connection: BaseDatabaseWrapper) -> Bell:
        return DataVersionBell(connection)


_as_driver_has: Callable[[str], str] = lru_cache(lambda sql: sql.replace("%s", "?"))


def _execute(cursor: CursorWrapper, sql: str, given: Sequence[Any]) -> None:
    """Past Django's wrapper, which rewrites the statement each time, unless somebody listens to it or has another."""
    connection: Any = cursor.db
    if type(cursor.cursor) is not SQLiteCursorWrapper or connection.execute_wrappers or connection.queries_logged:
        cursor.execute(sql, given)
    else:
        connection.validate_no_broken_transaction()
        with connection.wrap_database_errors:
            sqlite3.Cursor.execute(cursor.cursor, _as_driver_has(sql), given)


def as_text(moment: datetime) -> str:
    """As Django stores it, and always UTC: text then sorts as time."""
    return str(moment.astimezone(UTC).replace(tzinfo=None))


def _moment(seconds: float) -> str:
    return as_text(datetime.fromtimestamp(seconds, UTC))


# The jobs of a group have few seconds among them: what is dear of a date is done once for each.
@lru_cache(64)
def _second_as_text(seconds: int) -> str:
    return as_text(datetime.fromtimestamp(seconds, UTC))


@lru_cache(64)
def _text_as_second(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def _posix(moment: str) -> float:
    """POSIX seconds. Never, of what is no moment to us: a row by another hand must not hold up the others."""
    try:
        whole, point, fraction = moment.partition(".")
        return _text_as_second(whole) + (float(f"0.{fraction}") if point else 0.0)
    except (ValueError, AttributeError):
        return math.inf


def _dating() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What makes dates of the ages in records, before this moment, and ids as SQLite stores them."""
    now = time_ns() // 1000

    def moment(age: int) -> str:
        seconds, rest = divmod(now - age, 1_000_000)
        text = _second_as_text(seconds)
        return f"{text}.{rest:06d}" if rest else text

    def dated(record: dict[str, Any]) -> dict[str, Any]:
        record["id"] = record["id"].replace("-", "")
        if record["began"] is not None:
            record["began"] = moment(record["began"])
        record["ended"] = moment(record["ended"])
        return record

    return dated


def _kept(record: dict[str, Any]) -> tuple[Any, ...]:
    status, began = record["status"], record["began"]
    counted = (record["tried"], began is None, record["crashed"])
    ended = (record["value"], record["class"], record["message"])
    return (status, began, began, record["ended"], *counted, *ended, record["id"])


def _job_row(job: Job, now: datetime, sent_at: str) -> tuple[Any, ...]:
    due = job.run_after
    if due is None and job.delay_us is not None:
        due = now + timedelta(microseconds=job.delay_us)
    waits = due is not None and due > now
    starts = due if waits and due else now
    return (
        job.id.replace("-", ""),
        job.task_path,
        job.backend,
        job.queue_name,
        "SCHEDULED" if waits else "READY",
        -job.priority,
        as_text(starts) if waits else sent_at,
        _moment(job.enqueued_at) if job.enqueued_at else sent_at,
        as_text(due) if due else None,
        None if job.expires_us is None else as_text(starts + timedelta(microseconds=job.expires_us)),
        job.payload,
        job.headers,
        job.tries,
        *job[8:11],  # attempts, crashes, losses
        _moment(job.started_at) if job.started_at else None,
    )

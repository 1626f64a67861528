"""PostgreSQL ≥ 14. Plans and timings behind each form: docs/explanation/database.rst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from operator import itemgetter
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...jobs import Claim, Ended, Failed, Job, Released, Retried, Succeeded, size_of
from ...sleeper import Bell
from ..limits import Limits, limits_of
from ..weights import HEAVIEST
from .base import (
    ATTEMPT_CONFLICT,
    INSERT_PLAIN,
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
from .bells import ListenBell, PollBell
from .prepared import PLANS_LAST, are_prepared, execute_often, prepared_cursor
from .records import as_json, ended_record, failure_record, job_record, put_back_record
from .starts import Starts

CHANNEL = "taskq_django"
NOW = "statement_timestamp()"  # now() would be the start of the caller's transaction

# As a number: under USE_TZ = False Django would cut the time zone off.
SENT_AT = f"EXTRACT(EPOCH FROM {NOW})::float8"

INSERT_ONE = INSERT_PLAIN.format(rank="rank", now=NOW) + SENT_AT


def _insert_many(status: str, available: str, column: str = "", value: str = "") -> str:
    return f"""
WITH sent AS (
  INSERT INTO {JOB} ({JOB_COLUMNS.format(rank="rank")}{column})
  SELECT id, task_path, backend, queue_name, {status}, rank,
         {available}, COALESCE('epoch'::timestamptz + enqueued * interval '1 microsecond', {NOW}), due,
         GREATEST(due, {NOW}) + expires * interval '1 microsecond', payload, headers, tries,
         COALESCE(attempts, 0), COALESCE(crashes, 0), COALESCE(losses, 0),
         'epoch'::timestamptz + started * interval '1 microsecond'{value}
  FROM (SELECT o.*, COALESCE(run_after, {NOW} + delay * interval '1 microsecond') AS due
        FROM json_to_recordset(%s) AS o(id uuid, task_path text, backend text, queue_name text, rank smallint,
             run_after timestamptz, delay bigint, expires bigint, payload text, headers text, tries int, attempts int,
             crashes int, losses int, enqueued bigint, started bigint)) AS o)
SELECT {SENT_AT}"""


INSERT_MANY = _insert_many(f"CASE WHEN due > {NOW} THEN 'SCHEDULED' ELSE 'READY' END", f"GREATEST(due, {NOW})")
STAND_IN = _insert_many("'SCHEDULED'", f"{NOW} + %s * interval '1 second'", ", sender", ", %s::uuid")

# = ANY(ARRAY(…)) takes the primary key at every table size, where IN and a join fall back to a scan of the
# hot table. An UPDATE's RETURNING has no order: the caller sorts.
# What there is beyond HEAVIEST is locked and left. The size of a text is known without reading it; one row of arrays
# costs a hundredth of the whole, where a window over the rows would cost four.
CLAIM = f"""
WITH found AS MATERIALIZED (
  SELECT array_agg(id) AS ids, array_agg(weight) AS weights, SUM(weight) AS weight FROM (
    SELECT job.id, job.weight
    FROM unnest(%s::text[], %s::int[], %s::float8[], %s::int[]) AS part(name, first, at, below) CROSS JOIN LATERAL (
      SELECT id, octet_length(payload) + octet_length(headers) AS weight FROM {JOB}
      WHERE backend = %s AND status = 'READY' AND queue_name = part.name
        AND (rank, available_at) >= (part.first, to_timestamp(part.at)) AND rank < part.below
      ORDER BY rank, available_at, id LIMIT %s FOR UPDATE SKIP LOCKED) AS job LIMIT %s) AS each)
UPDATE {JOB} SET status = 'RUNNING', attempts = attempts + 1, token = %s, worker_id = %s, claimed_at = {NOW}
WHERE id = ANY((SELECT CASE WHEN weight <= {HEAVIEST} THEN ids ELSE ids[:(
  SELECT COUNT(*) FROM (SELECT SUM(each) OVER (ROWS UNBOUNDED PRECEDING) - each AS before
                        FROM unnest(weights) AS each) AS each WHERE before < {HEAVIEST})] END FROM found)::uuid[])
RETURNING queue_name, id::text, task_path, payload, rank, headers, tries, attempts, crashes, losses,
  EXTRACT(EPOCH FROM enqueued_at)::float8, EXTRACT(EPOCH FROM {NOW} - available_at)::float8,
  {VERDICT.format(NOW)},
  EXTRACT(EPOCH FROM available_at)::float8"""

CLAIM_ORDER = itemgetter(4, 13, 1)  # rank, available_at, id

# The row moves inside the server; = ANY(ARRAY(…)) again, so that a plain join cannot become a scan.
END = f"""
WITH o AS MATERIALIZED (
  SELECT * FROM json_to_recordset(%s) AS o(id uuid, token uuid, status text, began bigint, ended bigint, tried int,
                                           crashed int, keep boolean, value text, class text, message text)),
gone AS (
  DELETE FROM {JOB} job USING o WHERE job.id = ANY(ARRAY(SELECT id FROM o)) AND job.id = o.id AND job.token = o.token
  RETURNING job.*, COALESCE(o.status, 'SUCCESSFUL') AS end_status,
            CASE WHEN job.status = 'RUNNING' THEN {NOW} - o.began * interval '1 microsecond' END AS began_at,
            {NOW} - o.ended * interval '1 microsecond' AS ended_at, o.began, COALESCE(o.tried, 0) AS tried,
            COALESCE(o.crashed, 0) AS crashed, COALESCE(o.keep, o.value IS NOT NULL) AS keep, o.value,
            COALESCE(o.class, '') AS class, COALESCE(o.message, '') AS message),
kept AS (
  {INTO_RESULTS}
  SELECT id, task_path, backend, queue_name, -rank, end_status, enqueued_at, run_after,
         COALESCE(started_at, began_at), began_at, ended_at, payload, headers,
         tries + tried, attempts - (began IS NULL)::int, crashes + crashed, worker_id, value, class, message
  FROM gone WHERE keep)
SELECT id::text FROM gone"""

# Index 1 (`over`) replaces an existing result. It is a second statement, because the look-up costs each job 2 µs.
ENDS = (END, END.replace("WHERE keep)", f"WHERE keep {RESULT_CONFLICT})"))
# The same with a limit for its locks, which ends with this statement's own transaction: the parameter is read first.
ENDS_LIMITED = [
    sql.replace("(%s)", "(CASE WHEN set_config('lock_timeout', %s, true) <> '' THEN %s::json END)", 1) for sql in ENDS
]

PUT_BACK = f"""
WITH o AS MATERIALIZED (
  SELECT * FROM json_to_recordset(%s) AS o(id uuid, token uuid, tried int, crashed int, lost int, began int,
                                           own int, delay bigint))
UPDATE {JOB} job SET status = CASE WHEN o.delay > 0 THEN 'SCHEDULED' ELSE 'READY' END,
  available_at = CASE WHEN o.tried = 1 OR o.delay > 0 THEN {NOW} + o.delay * interval '1 microsecond'
                      ELSE job.available_at END,
  tries = job.tries + o.tried, crashes = job.crashes + o.crashed, losses = job.losses + o.lost,
  attempts = job.attempts - 1 + o.began,
  started_at = CASE WHEN o.began = 1 THEN COALESCE(job.started_at, job.claimed_at) ELSE job.started_at END,
  sender = CASE WHEN o.own = 1 THEN NULL ELSE job.sender END,
  token = NULL, worker_id = NULL, claimed_at = NULL, begun_at = NULL
FROM o WHERE job.id = ANY(ARRAY(SELECT id FROM o)) AND job.id = o.id AND job.token = o.token
RETURNING job.id::text"""

RECORD_FAILURES = f"""
{INTO_ATTEMPTS}
SELECT id, number, worker, {NOW} - began * interval '1 microsecond', {NOW} - ended * interval '1 microsecond',
       class, message, traceback
FROM json_to_recordset(%s) AS o(id uuid, number int, worker text, began bigint, ended bigint, class text, message text,
                                traceback text)
{ATTEMPT_CONFLICT}"""

# Until the end of the transaction. In one statement: each is a round trip.
SET_LOCAL = """
SELECT set_config('idle_in_transaction_session_timeout', %s, true), set_config('lock_timeout', %s, true)"""

PROMOTE = f"""
UPDATE {JOB} SET status = 'READY', available_at = {NOW} WHERE id = ANY(ARRAY(
  SELECT id FROM {JOB} WHERE backend = %s AND status = 'SCHEDULED' AND available_at <= {NOW}
  ORDER BY available_at LIMIT {PROMOTED_AT_ONCE} FOR UPDATE SKIP LOCKED))"""


class PostgreSQL(Dialect):
    """Most of its writes are one statement each, which moves or changes a whole group of rows."""

    def __init__(self) -> None:
        self._starts: WeakKeyDictionary[BaseDatabaseWrapper, Starts] = WeakKeyDictionary()

    seconds_to_next = NEXT_DUE.format(f"EXTRACT(EPOCH FROM MIN(available_at) - {NOW})::float8")
    one_statement = frozenset({"insert", "claim", "promote", "end"})

    def cursor(self, connection: BaseDatabaseWrapper) -> CursorWrapper:
        return prepared_cursor(connection)

    @contextmanager
    def limited(self, connection: BaseDatabaseWrapper, limits: Limits) -> Iterator[None]:
        with transaction.atomic(using=connection.alias):
            with connection.cursor() as cursor:
                cursor.execute(SET_LOCAL, (milliseconds(limits.idle), milliseconds(limits.wait)))
            yield

    def insert(self, cursor: CursorWrapper, jobs: Sequence[Job], ring: bool) -> datetime:
        # The notification rides in the same statement: as a second one it would cost a quarter of the speed.
        given: tuple[Any, ...]
        job = jobs[0]
        if len(jobs) == 1 and job.is_plain:
            sql, given = INSERT_ONE, (*job[:5], -job.priority, job.headers, job.tries)
        else:
            sql, given = INSERT_MANY, (as_json([job_record(job) for job in jobs]),)
        execute_often(cursor, f"{sql}, pg_notify('{CHANNEL}', '')" if ring else sql, given)
        return datetime.fromtimestamp(cursor.fetchone()[0], UTC)

    def stand_in(self, cursor: CursorWrapper, jobs: Sequence[Job], sender: str, seconds: float) -> datetime:
        cursor.execute(STAND_IN, [seconds, sender, as_json([job_record(job) for job in jobs])])
        return datetime.fromtimestamp(cursor.fetchone()[0], UTC)

    def claim(
        self, cursor: CursorWrapper, backend: str, queue_names: Sequence[str], limit: int, worker_id: str, token: str
    ) -> list[Claim]:
        starts = self._starts.setdefault(cursor.db, Starts())
        if are_prepared(cursor.db) and starts.planned_at < monotonic() - PLANS_LAST:
            cursor.execute("DISCARD PLANS")
            starts.planned_at = monotonic()
        places = {name: place for place, name in enumerate(queue_names)}
        rows: list[Any] = []
        for parts in starts.parts(backend, queue_names):
            try:
                cursor.execute(CLAIM, (*parts, backend, limit - len(rows), limit - len(rows), token, worker_id))
                rows += sorted(cursor.fetchall(), key=CLAIM_ORDER)
            except DatabaseError:
                if rows:
                    break  # they are claimed already, and would be nobody's
                raise
            if len(queue_names) > 1:
                rows.sort(key=lambda row: places[row[0]])
            if len(rows) == limit or sum([size_of(row[3]) + size_of(row[5]) for row in rows]) >= HEAVIEST:
                starts.note(backend, rows)
                break
        return [
            Claim(
                Job(id_, path, payload, backend, queue, -rank, headers, tried, begun, died, lost, at),
                token,
                waited,
                verdict,
            )
            for queue, id_, path, payload, rank, headers, tried, begun, died, lost, at, waited, verdict, _ in rows
        ]

    def end(self, cursor: CursorWrapper, outcomes: Sequence[Ended], over: bool = False) -> set[str]:
        now = monotonic()
        records = as_json([_told(outcome, now) for outcome in outcomes])
        # As one statement it begins no transaction in which the limits could be set, and a row may be locked.
        if limits := limits_of(cursor.db):
            cursor.execute(ENDS_LIMITED[over], (milliseconds(limits.wait), records))
        else:
            cursor.execute(ENDS[over], (records,))
        return {id_ for (id_,) in cursor.fetchall()}

    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Released]) -> set[str]:
        cursor.execute(PUT_BACK, [as_json([put_back_record(outcome) for outcome in outcomes])])
        return {id_ for (id_,) in cursor.fetchall()}

    def record_failures(self, cursor: CursorWrapper, outcomes: Sequence[Failed | Retried], worker_id: str) -> None:
        now = monotonic()
        cursor.execute(RECORD_FAILURES, [as_json([failure_record(outcome, worker_id, now) for outcome in outcomes])])

    def promote(self, cursor: CursorWrapper, backend: str) -> None:
        cursor.execute(PROMOTE, [backend])

    def ring(self, cursor: CursorWrapper) -> None:
        cursor.execute(f"SELECT pg_notify('{CHANNEL}', '')")

    def bell(self, connection: BaseDatabaseWrapper) -> Bell:
        # psycopg2 keeps notifications elsewhere; such projects poll.
        driver: str = connection.Database.__name__  # type: ignore[attr-defined]
        return ListenBell(connection, CHANNEL) if driver == "psycopg" else PollBell()


def _told(outcome: Ended, now: float) -> dict[str, Any]:
    """Of a success no more than its statement needs: to read the JSON is a tenth of what the server does."""
    if type(outcome) is not Succeeded:
        return ended_record(outcome, now)
    return {
        "id": outcome.claim.job.id,
        "token": outcome.claim.receipt,
        "began": int((now - outcome.started) * 1e6),
        "ended": int((now - outcome.ended) * 1e6),
        "value": outcome.value,
    }


def milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))  # 0 would be no limit

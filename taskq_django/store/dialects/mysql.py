"""MariaDB ≥ 10.6 and MySQL ≥ 8.0.11. No UPDATE … RETURNING there: what is written is locked and read first.

Locks under READ COMMITTED, Django's default: REPEATABLE READ locks the gaps between rows too, and then claims and
inserts wait for each other. ``rank`` is a reserved word of MySQL 8. Ids travel as 32 hexadecimal digits, which the
native type of MariaDB ≥ 10.7 and the CHAR(32) of the others both take; what comes back has dashes or has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...jobs import Claim, Ended, Failed, Job, Outcome, Released, Retried, dashed
from ...sleeper import Bell
from ..limits import Limits
from ..weights import HEAVIEST, LIGHT, what_fits
from .base import (
    ATTEMPT_COLUMNS,
    INSERT_PLAIN,
    INTO_ATTEMPTS,
    INTO_RESULTS,
    JOB,
    JOB_COLUMNS,
    NEXT_DUE,
    PAUSED,
    PROMOTED_AT_ONCE,
    RESULT,
    VERDICT,
    Dialect,
)
from .bells import PollBell
from .packets import ID, TEXT, as_json, hexed, json_groups, places, table, taken_out, write_heavy
from .records import ended_record, failure_record, job_record, put_back_record
from .variables import by_variables

EPOCH = "TIMESTAMP'1970-01-01 00:00:00'"
NOW = "UTC_TIMESTAMP(6)"  # NOW() would be in the time zone of the session
# Said wherever it matters: after a crash InnoDB takes a table for as small as it was when it last counted, a queue for
# empty, and reads all of it for each row of a group, locking it, until it counts anew: for 10 to 20 seconds.
BY_KEY = "FORCE INDEX (PRIMARY)"


# RETURNING is MariaDB's; MySQL is asked for the time first.
INSERT_ONE = INSERT_PLAIN.format(rank="`rank`", now=NOW) + "enqueued_at"

_JOBS = (
    f"id {ID}, task_path VARCHAR(255) {TEXT}, backend VARCHAR(64) {TEXT}, queue_name VARCHAR(64) {TEXT}, "
    f"`rank` SMALLINT, run_after VARCHAR(32), delay BIGINT, expires BIGINT, headers LONGTEXT {TEXT}, tries INT, "
    f"payload LONGTEXT {TEXT}"
)


def _insert(columns: str, enqueued: str, counters: str, available: str, column: str = "") -> str:
    # CAST of texts: a DATETIME that came through JSON_TABLE has lost its microseconds on some versions.
    return f"""
INSERT INTO {JOB} ({JOB_COLUMNS.format(rank="`rank`")}{column})
SELECT id, task_path, backend, queue_name, {available}, {enqueued}, due,
       COALESCE(GREATEST(due, sent_at), sent_at) + INTERVAL expires MICROSECOND, payload, headers, tries, {counters}
FROM (SELECT o.*, CAST(%s AS DATETIME(6)) AS sent_at,
             COALESCE(CAST(run_after AS DATETIME(6)), CAST(%s AS DATETIME(6)) + INTERVAL delay MICROSECOND) AS due
      FROM {table(columns)}) AS o"""


_DUE = "IF(due > sent_at, 'SCHEDULED', 'READY'), `rank`, COALESCE(GREATEST(due, sent_at), sent_at)"
INSERT = _insert(_JOBS, "sent_at", "0, 0, 0, NULL", _DUE)
# Of jobs that were sent before. Five columns more of a JSON_TABLE would cost all others a fifth.
INSERT_AGAIN = _insert(
    f"attempts INT, crashes INT, losses INT, enqueued BIGINT, started BIGINT, {_JOBS}",
    f"COALESCE({EPOCH} + INTERVAL enqueued MICROSECOND, sent_at)",
    f"COALESCE(attempts, 0), COALESCE(crashes, 0), COALESCE(losses, 0), {EPOCH} + INTERVAL started MICROSECOND",
    _DUE,
)
_LATER = "'SCHEDULED', `rank`, sent_at + INTERVAL %s MICROSECOND"
STAND_IN = _insert(_JOBS, "sent_at", "0, 0, 0, NULL, %s", _LATER, ", sender")

# Who claims a thousand jobs must not get a thousand large ones at once: what is heavy is read for those that are taken.
WEIGHT = "OCTET_LENGTH(payload) + OCTET_LENGTH(headers)"
CLAIMABLE = f"""
SELECT {WEIGHT}, queue_name, id, task_path, IF({WEIGHT} > {LIGHT}, NULL, payload), `rank`, headers, tries,
       attempts + 1, crashes, losses, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', enqueued_at),
       TIMESTAMPDIFF(MICROSECOND, available_at, {NOW}),
       {VERDICT.format(NOW)}
FROM {JOB} FORCE INDEX (taskq_queued_claim) WHERE backend = %s AND status = 'READY' AND queue_name IN {{}}
ORDER BY {{}}`rank`, available_at, id LIMIT %s FOR UPDATE SKIP LOCKED"""

HEAVY = f"SELECT id, payload FROM {JOB} {BY_KEY} WHERE id IN "

CLAIM = f"""
UPDATE {JOB} {BY_KEY} SET status = 'RUNNING', attempts = attempts + 1, token = %s, worker_id = %s, claimed_at = {NOW}
WHERE id IN """

HELD = f"SELECT id, token FROM {JOB} {BY_KEY} WHERE id IN {{}} FOR UPDATE"

_ENDED = table(
    f"id {ID}, status VARCHAR(10) {TEXT}, began BIGINT, ended BIGINT, tried INT, crashed INT, value LONGTEXT {TEXT}, "
    f"class VARCHAR(255) {TEXT}, message LONGTEXT {TEXT}"
)
# STRAIGHT_JOIN keeps the order of the loops: the group is small, the table may not be.
KEEP = f"""
{INTO_RESULTS}
SELECT job.id, task_path, backend, queue_name, -`rank`, o.status, enqueued_at, run_after,
       COALESCE(started_at, IF(job.status = 'RUNNING', {NOW} - INTERVAL o.began MICROSECOND, NULL)),
       IF(job.status = 'RUNNING', {NOW} - INTERVAL o.began MICROSECOND, NULL),
       {NOW} - INTERVAL o.ended MICROSECOND, payload, headers, tries + o.tried, attempts - (o.began IS NULL),
       crashes + o.crashed,
       worker_id, o.value, o.class, o.message
FROM {_ENDED} STRAIGHT_JOIN {JOB} job {BY_KEY} ON job.id = o.id"""

# Where there are results already: those of fewer attempts go, the others stay.
REMOVE_OLDER = f"""
DELETE result FROM {table(f"id {ID}, began BIGINT")} STRAIGHT_JOIN {JOB} job {BY_KEY} ON job.id = o.id
  STRAIGHT_JOIN {RESULT} result {BY_KEY} ON result.id = o.id WHERE result.attempts < job.attempts - (o.began IS NULL)"""
KEEP_OVER = f"{KEEP} ON DUPLICATE KEY UPDATE message = {RESULT}.message"

# Not IN: a DELETE from one table heeds no index that it is told.
REMOVE = f"DELETE job FROM {table(f'id {ID}')} STRAIGHT_JOIN {JOB} job {BY_KEY} ON job.id = o.id"

# Assignments take effect from left to right: claimed_at is read before it is cleared.
PUT_BACK = f"""
UPDATE {table(f"id {ID}, tried INT, crashed INT, lost INT, began INT, own INT, delay BIGINT")}
  STRAIGHT_JOIN {JOB} job {BY_KEY} ON job.id = o.id
SET job.status = IF(o.delay > 0, 'SCHEDULED', 'READY'),
  job.available_at = IF(o.tried = 1 OR o.delay > 0, {NOW} + INTERVAL o.delay MICROSECOND, job.available_at),
  job.tries = job.tries + o.tried, job.crashes = job.crashes + o.crashed, job.losses = job.losses + o.lost,
  job.attempts = job.attempts - 1 + o.began,
  job.started_at = IF(o.began = 1, COALESCE(job.started_at, job.claimed_at), job.started_at),
  job.sender = IF(o.own = 1, NULL, job.sender),
  job.token = NULL, job.worker_id = NULL, job.claimed_at = NULL, job.begun_at = NULL"""

_FAILURES = table(
    f"id {ID}, number INT, worker VARCHAR(128) {TEXT}, began BIGINT, ended BIGINT, class VARCHAR(255) {TEXT}, "
    f"message LONGTEXT {TEXT}, traceback LONGTEXT {TEXT}"
)
RECORD_FAILURES = f"""
{INTO_ATTEMPTS}
SELECT id, number, worker, {NOW} - INTERVAL began MICROSECOND, {NOW} - INTERVAL ended MICROSECOND, class, message,
       traceback
FROM {_FAILURES}
ON DUPLICATE KEY UPDATE {", ".join(f"{name} = VALUES({name})" for name in ATTEMPT_COLUMNS.split(", "))}"""

DUE = f"""
SELECT id FROM {JOB} FORCE INDEX (taskq_queued_due)
WHERE backend = %s AND status = 'SCHEDULED' AND available_at <= {NOW}
ORDER BY available_at LIMIT {PROMOTED_AT_ONCE} FOR UPDATE SKIP LOCKED"""

PROMOTE = f"UPDATE {JOB} {BY_KEY} SET status = 'READY', available_at = {NOW} WHERE id IN "

# With constants a MIN is one probe of the index; a GROUP BY, or a MIN that depends on an outer row, reads every entry.
NEXT_QUEUE = f"SELECT MIN(queue_name) FROM {JOB} WHERE backend = %s AND status = 'READY' AND queue_name > %s"
PAUSED_QUEUES = f"SELECT queue_name FROM {PAUSED} WHERE backend = %s"


class MySQL(Dialect):
    """Both vendors. ``mysql_is_mariadb`` of the connection tells them apart where it matters."""

    seconds_to_next = NEXT_DUE.format(f"TIMESTAMPDIFF(MICROSECOND, {NOW}, MIN(available_at)) / 1e6")

    def needs(self, connection: Any) -> str:
        name, least = ("MariaDB", (10, 6)) if connection.mysql_is_mariadb else ("MySQL", (8, 0, 11))
        wanted, found = (".".join(map(str, version)) for version in (least, connection.mysql_version))
        return "" if connection.mysql_version >= least else f"{name} {wanted} (it is {found})"

    def limited(self, connection: BaseDatabaseWrapper, limits: Limits) -> AbstractContextManager[None]:
        return by_variables(connection, limits)

    def insert(self, cursor: CursorWrapper, jobs: Sequence[Job], ring: bool) -> datetime:
        job = jobs[0]
        alone = len(jobs) == 1 and job.is_plain
        if alone and len(job.payload) + len(job.headers) <= LIGHT and cursor.db.mysql_is_mariadb:
            given = (job.id.replace("-", ""), *job[1:5], -job.priority, job.headers, job.tries)
            cursor.execute(INSERT_ONE, given)
            at: datetime = cursor.fetchone()[0]
            return at.replace(tzinfo=UTC)
        return _insert_many(cursor, INSERT_AGAIN if any(job.has_lived for job in jobs) else INSERT, jobs)

    def stand_in(self, cursor: CursorWrapper, jobs: Sequence[Job], sender: str, seconds: float) -> datetime:
        return _insert_many(cursor, STAND_IN, jobs, int(seconds * 1e6), sender.replace("-", ""))

    def claim(
        self, cursor: CursorWrapper, backend: str, queue_names: Sequence[str], limit: int, worker_id: str, token: str
    ) -> list[Claim]:
        found: list[Any] = []
        for names in rising(queue_names):
            first = "queue_name, " if len(names) > 1 else ""  # MariaDB sorts by a column that is the same everywhere
            cursor.execute(CLAIMABLE.format(places(names), first), [backend, *names, limit - len(found)])
            found += cursor.fetchall()
            if len(found) == limit or sum([row[0] for row in found]) >= HEAVIEST:
                break
        rows = found[: what_fits([row[0] for row in found])]
        if rows:
            ids = [row[2] for row in rows]
            cursor.execute(CLAIM + places(ids), [token, worker_id, *ids])
        heavy: dict[Any, str] = {}
        if left := [row[2] for row in rows if row[4] is None]:
            cursor.execute(HEAVY + places(left), left)
            heavy = dict(cursor.fetchall())
        return [
            Claim(
                Job(dashed(id_), path, text, backend, queue, -rank, headers, tried, begun, died, lost, at / 1e6),
                token,
                waited / 1e6,
                verdict,
            )
            for _, queue, id_, path, payload, rank, headers, tried, begun, died, lost, at, waited, verdict in rows
            for text in [heavy[id_] if payload is None else payload]
        ]

    def end(self, cursor: CursorWrapper, outcomes: Sequence[Ended], over: bool = False) -> set[str]:
        held = self._held(cursor, outcomes)
        records = [hexed(ended_record(outcome, monotonic())) for outcome in outcomes if outcome.claim.job.id in held]
        ids = as_json([{"id": record["id"], "began": record["began"]} for record in records])
        if over and records:
            cursor.execute(REMOVE_OLDER, [ids])
        heavy = [] if over else taken_out(records, "value", None)  # not into a result that stays
        for text in json_groups(record for record in records if record["keep"]):
            cursor.execute(KEEP_OVER if over else KEEP, [text])
        write_heavy(cursor, RESULT, "return_value", heavy)
        if records:
            cursor.execute(REMOVE, [ids])
        return held

    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Released]) -> set[str]:
        held = self._held(cursor, outcomes)
        records = [hexed(put_back_record(outcome)) for outcome in outcomes if outcome.claim.job.id in held]
        if records:
            cursor.execute(PUT_BACK, [as_json(records)])
        return held

    def record_failures(self, cursor: CursorWrapper, outcomes: Sequence[Failed | Retried], worker_id: str) -> None:
        records = [hexed(failure_record(outcome, worker_id, monotonic())) for outcome in outcomes]
        for text in json_groups(records):
            cursor.execute(RECORD_FAILURES, [text])

    def promote(self, cursor: CursorWrapper, backend: str) -> None:
        cursor.execute(DUE, [backend])
        ids = [id_ for (id_,) in cursor.fetchall()]
        if ids:
            cursor.execute(PROMOTE + places(ids), ids)

    def ready_queues(self, cursor: CursorWrapper, backend: str) -> list[str]:
        found: list[str] = []
        name: str | None = ""
        while True:
            cursor.execute(NEXT_QUEUE, [backend, name])
            (name,) = cursor.fetchone()
            if name is None:
                break
            found.append(name)
        if found:
            cursor.execute(PAUSED_QUEUES, [backend])
            paused = {name for (name,) in cursor.fetchall()}
            found = [name for name in found if name not in paused]
        return found

    def bell(self, connection: BaseDatabaseWrapper) -> Bell:
        return PollBell()

    def _held(self, cursor: CursorWrapper, outcomes: Sequence[Outcome]) -> set[str]:
        """Lock the rows of these claims; returns the ids of those that still carry the claim's token."""
        tokens = {outcome.claim.job.id: outcome.claim.receipt for outcome in outcomes}
        ids = [id_.replace("-", "") for id_ in tokens]
        cursor.execute(HELD.format(places(ids)), ids)
        rows = [(dashed(id_), token) for id_, token in cursor.fetchall()]
        return {id_ for id_, token in rows if token is not None and str(token).replace("-", "") == tokens[id_]}


def rising(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """The names in their order, cut where they stop rising: of each part one statement can keep the order."""
    start = 0
    for place in range(1, len(names) + 1):
        if place == len(names) or names[place] <= names[place - 1]:
            yield names[start:place]
            start = place


def _insert_many(cursor: CursorWrapper, sql: str, jobs: Sequence[Job], *more: Any) -> datetime:
    cursor.execute(f"SELECT {NOW}")
    sent_at: datetime = cursor.fetchone()[0]
    records = [hexed(job_record(job)) for job in jobs]
    heavy = {name: taken_out(records, name, "") for name in ("payload", "headers")}
    for text in json_groups(records):
        cursor.execute(sql, [*more, sent_at, sent_at, text])
    for name, texts in heavy.items():
        write_heavy(cursor, JOB, name, texts)
    return sent_at.replace(tzinfo=UTC)

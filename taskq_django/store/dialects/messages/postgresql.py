"""PostgreSQL: successes in one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import monotonic

from django.db.backends.utils import CursorWrapper

from ....jobs import Ended, Released, Retried
from ...limits import limits_of
from ..base import JOB, JOB_COLUMNS, RESULT, RESULT_COLUMNS, RESULT_CONFLICT
from ..postgresql import NOW, milliseconds
from ..records import as_json, result_record, row_record
from .base import IS_EARLIER, IS_SENT, KEPT, RENEWED, ROW_CONFLICT, WORKER, Messages, SentChange


def _moment(microseconds: str) -> str:
    return f"'epoch'::timestamptz + {microseconds} * interval '1 microsecond'"


def _age(microseconds: str) -> str:
    return f"{NOW} - {microseconds} * interval '1 microsecond'"


# The limit for its locks ends with this statement's own transaction. As a sub-query it is set before a row is locked.
# Everything hangs on ``me``: there is nothing in ``o`` where the row is gone, also when it goes while its lock is
# waited for.
_END = f"""
WITH me AS MATERIALIZED (
  SELECT 1 FROM {WORKER} WHERE id = (SELECT CASE WHEN %s = '' OR set_config('lock_timeout', %s, true) <> '' THEN %s END)
  FOR KEY SHARE),
o AS MATERIALIZED (
  SELECT o.* FROM me, json_to_recordset(%s) AS o(
    id uuid, task_path text, backend text, queue_name text, priority smallint, status text, enqueued bigint,
    started bigint, began bigint, ended bigint, headers text, tries int, attempts int, crashes int, ends boolean,
    keep boolean, class text, message text, value text, payload text)),
{{swept}}kept AS (
  INSERT INTO {RESULT} ({RESULT_COLUMNS})
  SELECT id, task_path, backend, queue_name, priority, status, COALESCE({_moment("enqueued")}, {NOW}), NULL,
         COALESCE({_moment("started")}, {_age("began")}), {_age("began")}, {_age("ended")}, payload, headers, tries,
         attempts - (began IS NULL)::int, crashes, %s, value, class, message
  FROM o WHERE keep {RESULT_CONFLICT})
SELECT COUNT(*) FROM me"""

# Locked first, because a write by itself locks in the order of its scan.
_SWEPT = f"""locked AS MATERIALIZED (
  SELECT id FROM {JOB} WHERE id = ANY(ARRAY(SELECT id FROM o)) ORDER BY id FOR UPDATE),
swept AS (
  DELETE FROM {JOB} USING o WHERE {JOB}.id = ANY(ARRAY(SELECT id FROM locked)) AND {JOB}.id = o.id AND o.ends
    AND {IS_EARLIER.format("o.attempts")}),
"""

ENDS = (_END.format(swept=""), _END.format(swept=_SWEPT))  # index 1: with a sweep

PUT_BACK = f"""
INSERT INTO {JOB} ({JOB_COLUMNS.format(rank="rank")})
SELECT id, task_path, backend, queue_name, CASE WHEN delay > 0 THEN 'SCHEDULED' ELSE 'READY' END, rank,
       CASE WHEN tried = 1 OR delay > 0 THEN {NOW} + delay * interval '1 microsecond'
            ELSE LEAST({_moment("enqueued")}, {NOW}) END,
       COALESCE({_moment("enqueued")}, {NOW}), NULL,
       COALESCE({_moment("enqueued")}, {NOW}) + expires * interval '1 microsecond',
       payload, headers, tries, attempts, crashes, losses,
       COALESCE({_moment("started")}, {_age("began")})
FROM json_to_recordset(%s) AS o(id uuid, task_path text, backend text, queue_name text, rank smallint, enqueued bigint,
     started bigint, began bigint, expires bigint, delay bigint, tried int, headers text, tries int, attempts int,
     crashes int, losses int, payload text)
{ROW_CONFLICT}"""

_SENT = f"""
WITH mine AS MATERIALIZED (
  SELECT id FROM {JOB} WHERE id = ANY(%s::uuid[]) AND {IS_SENT} ORDER BY id FOR UPDATE)
{{}} WHERE id = ANY(ARRAY(SELECT id FROM mine)) RETURNING id::text"""
_DUE = f"{NOW} + %s * interval '1 second'"
CHANGES: dict[SentChange, str] = {
    "renew": _SENT.format(f"UPDATE {JOB} SET {RENEWED.format(_DUE)}"),
    "remove": _SENT.format(f"DELETE FROM {JOB}"),
    "keep": _SENT.format(f"UPDATE {JOB} SET {KEPT.format(_DUE)}"),
}


class PostgreSQLMessages(Messages):
    one_statement = frozenset({"record", "change_sent"})

    def end(
        self,
        cursor: CursorWrapper,
        ended: Sequence[Ended],
        back: Sequence[Retried | Released],
        holder: str,
        author: str,
        sweep: bool,
    ) -> bool:
        now = monotonic()
        records = [result_record(outcome, now) for outcome in ended]
        if sweep:
            records += [{"id": outcome.claim.job.id, "ends": False, "keep": False} for outcome in back]
        limits = limits_of(cursor.db)
        wait = milliseconds(limits.wait) if limits else ""
        cursor.execute(ENDS[sweep], [wait, wait, holder, as_json(records), author])
        count: int = cursor.fetchone()[0]
        return count == 1

    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Released]) -> None:
        now = monotonic()
        cursor.execute(PUT_BACK, [as_json([row_record(outcome, now) for outcome in outcomes])])

    def change_sent(
        self, cursor: CursorWrapper, change: SentChange, ids: Collection[str], sender: str, seconds: float = 0.0
    ) -> set[str]:
        cursor.execute(CHANGES[change], [list(ids), sender, *([] if change == "remove" else [seconds])])
        return {id_ for (id_,) in cursor.fetchall()}

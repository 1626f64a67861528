"""MariaDB and MySQL. A condition for a whole row is none of ON DUPLICATE KEY UPDATE, which sets column after column.

So what is locked is read first, in the order of the key; what is earlier is removed, and then all are inserted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from time import monotonic
from typing import Any

from django.db import IntegrityError, transaction
from django.db.backends.utils import CursorWrapper

from ....jobs import Ended, Outcome, Released, Retried, dashed
from ..base import JOB, JOB_COLUMNS, RESULT, RESULT_COLUMNS
from ..mysql import BY_KEY, EPOCH, NOW, PAUSED_QUEUES, REMOVE
from ..packets import ID, TEXT, as_json, hexed, json_groups, places, table, taken_out, write_heavy
from ..records import result_record, row_record
from .base import IS_SENT, KEPT, RENEWED, WORKER, Messages, SentChange

HOLDER = f"SELECT 1 FROM {WORKER} {BY_KEY} WHERE id = %s LOCK IN SHARE MODE"
ROWS = f"SELECT id, attempts, sender IS NOT NULL FROM {JOB} {BY_KEY} WHERE id IN {{}} FOR UPDATE"


def _moment(microseconds: str) -> str:
    return f"{EPOCH} + INTERVAL {microseconds} MICROSECOND"


def _age(microseconds: str) -> str:
    return f"{NOW} - INTERVAL {microseconds} MICROSECOND"


_JOB = (
    f"id {ID}, task_path VARCHAR(255) {TEXT}, backend VARCHAR(64) {TEXT}, queue_name VARCHAR(64) {TEXT}, "
    f"enqueued BIGINT, started BIGINT, began BIGINT, headers LONGTEXT {TEXT}, tries INT, attempts INT, crashes INT"
)
_ENDED = table(
    f"{_JOB}, priority SMALLINT, status VARCHAR(10) {TEXT}, ended BIGINT, class VARCHAR(255) {TEXT}, "
    f"message LONGTEXT {TEXT}, value LONGTEXT {TEXT}, payload LONGTEXT {TEXT}"
)
KEEP = f"""
INSERT INTO {RESULT} ({RESULT_COLUMNS})
SELECT id, task_path, backend, queue_name, priority, status, COALESCE({_moment("enqueued")}, {NOW}), NULL,
       COALESCE({_moment("started")}, {_age("began")}), {_age("began")}, {_age("ended")}, payload, headers, tries,
       attempts - (began IS NULL), crashes, %s, value, class, message
FROM {_ENDED}"""
# Where there are results already: those of fewer attempts go, the others stay.
REMOVE_OLDER = f"""
DELETE result FROM {table(f"id {ID}, attempts INT")} STRAIGHT_JOIN {RESULT} result {BY_KEY} ON result.id = o.id
WHERE result.attempts < o.attempts"""
KEEP_OVER = f"{KEEP} ON DUPLICATE KEY UPDATE message = {RESULT}.message"

_BACK = table(f"{_JOB}, `rank` SMALLINT, expires BIGINT, delay BIGINT, tried INT, losses INT, payload LONGTEXT {TEXT}")
PUT_BACK = f"""
INSERT INTO {JOB} ({JOB_COLUMNS.format(rank="`rank`")})
SELECT id, task_path, backend, queue_name, IF(delay > 0, 'SCHEDULED', 'READY'), `rank`,
       IF(tried = 1 OR delay > 0, {NOW} + INTERVAL delay MICROSECOND,
          LEAST(COALESCE({_moment("enqueued")}, {NOW}), {NOW})),
       COALESCE({_moment("enqueued")}, {NOW}), NULL,
       COALESCE({_moment("enqueued")}, {NOW}) + INTERVAL expires MICROSECOND,
       payload, headers, tries, attempts, crashes, losses,
       COALESCE({_moment("started")}, {_age("began")})
FROM {_BACK} ON DUPLICATE KEY UPDATE payload = {JOB}.payload"""

SENT = f"SELECT id FROM {JOB} {BY_KEY} WHERE id IN {{}} AND {IS_SENT} FOR UPDATE"
_DUE = f"{NOW} + INTERVAL %s MICROSECOND"
CHANGES: dict[SentChange, str] = {
    "renew": f"UPDATE {JOB} {BY_KEY} SET {RENEWED.format(_DUE)} WHERE id IN ",
    "keep": f"UPDATE {JOB} {BY_KEY} SET {KEPT.format(_DUE)} WHERE id IN ",
}


class MySQLMessages(Messages):
    def end(
        self,
        cursor: CursorWrapper,
        ended: Sequence[Ended],
        back: Sequence[Retried | Released],
        holder: str,
        author: str,
        sweep: bool,
    ) -> bool:
        cursor.execute(HOLDER, [holder])
        if cursor.fetchone() is None:
            return False
        self._remove_earlier(cursor, [*ended, *back] if sweep else back)
        try:
            self._keep(cursor, ended, author)
        except IntegrityError:  # there is a result of one of them; to look for it each time would cost
            self._keep(cursor, ended, author, over=True)
        return True

    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Released]) -> None:
        now = monotonic()
        records = [hexed(row_record(outcome, now)) for outcome in outcomes]
        heavy = {name: taken_out(records, name, "") for name in ("payload", "headers")}
        for text in json_groups(records):
            cursor.execute(PUT_BACK, [text])
        for name, texts in heavy.items():  # a row that has stayed has the same ones
            write_heavy(cursor, JOB, name, texts)

    def change_sent(
        self, cursor: CursorWrapper, change: SentChange, ids: Collection[str], sender: str, seconds: float = 0.0
    ) -> set[str]:
        if not ids:
            return set()
        keys = [id_.replace("-", "") for id_ in ids]
        cursor.execute(SENT.format(places(keys)), [*keys, sender.replace("-", "")])
        found = {dashed(id_) for (id_,) in cursor.fetchall()}
        keys = [id_.replace("-", "") for id_ in found]
        if keys and change == "remove":
            cursor.execute(REMOVE, [as_json([{"id": key} for key in keys])])
        elif keys:
            cursor.execute(CHANGES[change] + places(keys), [int(seconds * 1e6), *keys])
        return found

    def look(self, cursor: CursorWrapper, backend: str) -> tuple[list[str], set[str]]:
        ready = self.dialect.ready_queues(cursor, backend)  # which is no single statement here
        cursor.execute(PAUSED_QUEUES, [backend])
        return ready, {name for (name,) in cursor.fetchall()}

    def _remove_earlier(self, cursor: CursorWrapper, outcomes: Sequence[Outcome]) -> None:
        """Lock the rows of these jobs, and remove those that give way to what came of the message."""
        if not outcomes:
            return
        attempts = {outcome.claim.job.id: outcome.claim.attempt for outcome in outcomes}
        cursor.execute(ROWS.format(places(list(attempts))), [id_.replace("-", "") for id_ in attempts])
        earlier = [
            {"id": str(id_).replace("-", "")}
            for id_, begun, stands_in in cursor.fetchall()
            if stands_in or begun < attempts[dashed(id_)]
        ]
        if earlier:
            cursor.execute(REMOVE, [as_json(earlier)])

    @staticmethod
    def _keep(cursor: CursorWrapper, ended: Sequence[Ended], author: str, *, over: bool = False) -> None:
        now = monotonic()
        records: list[dict[str, Any]] = [hexed(result_record(outcome, now)) for outcome in ended]
        records = [record for record in records if record["keep"]]
        if over:
            counted = [{"id": r["id"], "attempts": r["attempts"] - (r["began"] is None)} for r in records]
            cursor.execute(REMOVE_OLDER, [as_json(counted)])
        heavy = {name: taken_out(records, name, "") for name in ("payload", "headers")}
        if not over:  # not into a result that stays; it has the same arguments, though
            heavy["return_value"] = taken_out(records, "value", None)
        # A group that fails has written nothing; those before it, only what is not heavy.
        again_from_here = transaction.atomic(using=cursor.db.alias) if heavy.get("return_value") else nullcontext()
        with again_from_here:
            for text in json_groups(records):
                cursor.execute(KEEP_OVER if over else KEEP, [author, text])
        for name, texts in heavy.items():
            write_heavy(cursor, RESULT, name, texts)

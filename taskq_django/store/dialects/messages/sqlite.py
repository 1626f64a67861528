"""SQLite: the transaction itself, which is the only one that writes, is the lock on the holder's row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, TypeVar

import orjson
from django.db.backends.utils import CursorWrapper

from ....jobs import Ended, Released, Retried, dashed
from ..base import JOB, JOB_COLUMNS, RESULT, RESULT_COLUMNS, RESULT_CONFLICT
from ..records import result_record, row_record
from ..sqlite import as_text
from .base import IS_EARLIER, IS_SENT, KEPT, RENEWED, ROW_CONFLICT, WORKER, Messages, SentChange

T = TypeVar("T")

HOLDER = f"SELECT 1 FROM {WORKER} WHERE id = %s"

KEEP = f"""
INSERT INTO {RESULT} ({RESULT_COLUMNS})
VALUES (%s, %s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) {RESULT_CONFLICT}"""

SWEEP = f"DELETE FROM {JOB} WHERE id = %s AND {IS_EARLIER.format('%s')}"

PUT_BACK = f"""
INSERT INTO {JOB} ({JOB_COLUMNS.format(rank="rank")})
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s, %s, %s, %s, %s) {ROW_CONFLICT}"""


_MINE = f"WHERE id IN (SELECT value FROM json_each(%s)) AND {IS_SENT} RETURNING id"
CHANGES: dict[SentChange, str] = {
    "renew": f"UPDATE {JOB} SET {RENEWED.format('%s')} {_MINE}",
    "remove": f"DELETE FROM {JOB} {_MINE}",
    "keep": f"UPDATE {JOB} SET {KEPT.format('%s')} {_MINE}",
}


class SQLiteMessages(Messages):
    one_statement = frozenset({"change_sent"})

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
        now, at = monotonic(), datetime.now(UTC)
        records = [result_record(outcome, now) for outcome in ended]
        cursor.executemany(KEEP, [_result(record, at, author) for record in records if record["keep"]])
        if sweep:
            cursor.executemany(SWEEP, [(_hex(record), record["attempts"]) for record in records])
        return True

    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Released]) -> None:
        now, at = monotonic(), datetime.now(UTC)
        cursor.executemany(PUT_BACK, [_row(row_record(outcome, now), at) for outcome in outcomes])

    def change_sent(
        self, cursor: CursorWrapper, change: SentChange, ids: Collection[str], sender: str, seconds: float = 0.0
    ) -> set[str]:
        due = [] if change == "remove" else [as_text(datetime.now(UTC) + timedelta(seconds=seconds))]
        keys = orjson.dumps([id_.replace("-", "") for id_ in ids]).decode()
        cursor.execute(CHANGES[change], [*due, keys, sender.replace("-", "")])
        return {dashed(id_) for (id_,) in cursor.fetchall()}


def _hex(record: dict[str, Any]) -> str:
    id_: str = record["id"]
    return id_.replace("-", "")


def _ago(now: datetime, microseconds: int) -> str:
    return as_text(now - timedelta(microseconds=microseconds))


def _moment(microseconds: int | None, default: T) -> str | T:
    return as_text(datetime.fromtimestamp(microseconds / 1e6, UTC)) if microseconds else default


def _result(r: dict[str, Any], now: datetime, author: str) -> tuple[Any, ...]:
    unbegun = r["began"] is None
    began = None if unbegun else _ago(now, r["began"])
    return (
        *(_hex(r), r["task_path"], r["backend"], r["queue_name"], r["priority"], r["status"]),
        *(_moment(r["enqueued"], as_text(now)), _moment(r["started"], began), began, _ago(now, r["ended"])),
        *(r["payload"], r["headers"], r["tries"], r["attempts"] - unbegun, r["crashes"], author),
        *(r["value"], r["class"], r["message"]),
    )


def _row(r: dict[str, Any], now: datetime) -> tuple[Any, ...]:
    enqueued = _moment(r["enqueued"], as_text(now))
    expires = None
    if r["expires"] is not None:
        expires = _moment((r["enqueued"] or now.timestamp() * 1e6) + r["expires"], None)
    return (
        *(_hex(r), r["task_path"], r["backend"], r["queue_name"]),
        *("SCHEDULED" if r["delay"] > 0 else "READY", r["rank"]),
        *(_ago(now, -r["delay"]) if r["tried"] or r["delay"] else min(enqueued, as_text(now)), enqueued, expires),
        *(r["payload"], r["headers"], r["tries"], r["attempts"], r["crashes"], r["losses"]),
        _moment(r["started"], None if r["began"] is None else _ago(now, r["began"])),
    )

"""How texts reach MariaDB and MySQL: a group as one JSON text, and what is heavy by itself.

JSON_TABLE takes a tenth of a second for a MiB. In JSON a text that is not ASCII becomes six times as long, and in a
statement every quotation mark is quoted twice. As hexadecimal digits it is twice as long, whatever it says, and no
driver looks through it for what it must quote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from typing import Any

import orjson
from django.db import DataError
from django.db.backends.utils import CursorWrapper

from ..weights import HEAVIEST, LIGHT, cut

ID, TEXT = "CHAR(32)", "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"  # a JSON_TABLE would take the database's
# Bytes beside the one parameter, at most.
STATEMENT = 4096


def table(columns: str) -> str:
    """One JSON parameter as the table ``o``; columns: "NAME TYPE, …"."""
    paths = ", ".join(f"{column} PATH '$.{column.split()[0].strip('`')}'" for column in columns.split(", "))
    return f"JSON_TABLE(%s, '$[*]' COLUMNS ({paths})) AS o"


def json_groups(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """As JSON texts, each of which fits a packet (16 MiB by default) after quoting; nothing for none."""
    texts = [as_json(record) for record in records]
    for group in cut(texts, [len(text) for text in texts]):
        yield f"[{','.join(group)}]"


def taken_out(records: Iterable[dict[str, Any]], name: str, stand_in: str | None) -> list[tuple[str, str]]:
    """What is heavy under this name, by the ids of its records, which get ``stand_in`` in its place."""
    heavy = [(record["id"], record[name]) for record in records if len(record[name] or "") > LIGHT]
    if heavy:
        ids = {id_ for id_, _ in heavy}
        for record in records:
            if record["id"] in ids:
                record[name] = stand_in
    return heavy


def write_heavy(cursor: CursorWrapper, table: str, column: str, texts: Iterable[tuple[str, str]]) -> None:
    """Into the rows of these ids. Raises DataError for a text that the server would close the connection for."""
    for id_, text in texts:
        sent, value = text.encode().hex(), "CONVERT(UNHEX(%s) USING utf8mb4)"
        size = len(sent)
        if size > HEAVIEST and text.isascii():  # as it is it may be shorter
            sent, value, size = text, "%s", len(text) + sum(map(text.count, "\\\"'"))
        if size > HEAVIEST:
            cursor.execute("SELECT @@max_allowed_packet")
            (most,) = cursor.fetchone()
            if size + STATEMENT > most:
                needed = f"{size + STATEMENT:,} bytes, and the server's max_allowed_packet is {most:,}"
                raise DataError(f"A text of {len(text):,} characters is written by a statement of {needed}")
        cursor.execute(f"UPDATE {table} FORCE INDEX (PRIMARY) SET {column} = {value} WHERE id = %s", [sent, id_])


def as_json(records: Sequence[dict[str, Any]] | dict[str, Any]) -> str:
    """In ASCII: what the connection's character set lacks must reach the server all the same."""
    text = orjson.dumps(records).decode()
    return text if text.isascii() else json.dumps(orjson.loads(text))


def places(ids: Sequence[Any]) -> str:
    return f"({', '.join(['%s'] * len(ids))})"


def hexed(record: dict[str, Any]) -> dict[str, Any]:
    """The same record as this vendor reads it: the id without dashes, moments as UTC without an offset."""
    record["id"] = record["id"].replace("-", "")
    if record.get("run_after") is not None:
        record["run_after"] = str(record["run_after"].astimezone(UTC).replace(tzinfo=None))
    return record

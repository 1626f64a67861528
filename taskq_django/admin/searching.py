"""What the search box of a list of jobs finds: words that it shows, ids, and ``error:KeyError task:add queue:mail``.

Of arguments and messages a page shows less than is stored, and by trying one could read the rest. So what the database
finds there counts only where it is in the text that is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, Q, QuerySet, TextField
from django.db.models.functions import Substr
from django.db.models.lookups import IContains
from django.db.models.sql.compiler import SQLCompiler
from django.utils.text import smart_split

from ..jobs import is_id
from ..models import JobResult
from ..registry import registry
from ..states import State
from . import display
from .filters import narrowed, newest

HELP_NAMES = ("error", "task", "queue")
MOST_CHECKED = 1000  # jobs whose texts are read to see whether what was found in them is shown
READ = 4000  # characters of the arguments and of a message that are searched

_CALL = re.compile(r"([\w.]+)\((.*)\)")  # as the list shows a job
_ID = re.compile(r"0[0-9a-f]{7,31}")  # the beginning of one: those of this millennium begin with 0


class AnyCase(Func):
    """A text for ``icontains``: on MariaDB and MySQL our columns tell capitals apart, and so would that."""

    template = "%(expressions)s"
    output_field = TextField()

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s COLLATE utf8mb4_general_ci)", **context)


@dataclass(frozen=True, slots=True)
class Wanted:
    """``ids``: the least and the greatest; None: any."""

    words: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)
    ids: tuple[UUID, UUID] | None = None

    def fits(self, id_: str, path: str, queue: str, shown: str) -> bool:
        """For jobs that are in no table. ``shown``: the rest of what the list shows of it."""
        if self.ids is not None and not (is_id(id_) and self.ids[0] <= UUID(id_) <= self.ids[1]):
            return False
        asked = self.named
        if "error" in asked or asked.get("queue", queue) != queue or asked.get("task", "").lower() not in path.lower():
            return False
        texts = f"{path} {shown}".lower(), queue.lower()
        return all(any(word.lower() in text for text in texts) for word in self.words)


def read(term: str) -> Wanted:
    term = term.strip()
    if is_id(term):
        return Wanted(ids=(UUID(term), UUID(term)))
    if call := _CALL.fullmatch(term):
        term = f"{call[1]} {call[2].replace(', ', ' ')}"
    words, named, ids = [], {}, None
    for bit in smart_split(term):
        name, colon, value = bit.partition(":")
        if colon and name.lower() in HELP_NAMES:
            if value := value.strip("\"'"):
                named[name.lower()] = value
        elif begun := _range(bit):
            ids = begun
        else:
            is_quoted = len(bit) > 1 and bit[0] == bit[-1] and (bit[0] == "'" or (bit[0] == '"' and " " in bit))
            words.append(bit[1:-1] if is_quoted else bit)
    return Wanted(tuple(words), named, ids)


def _range(text: str) -> tuple[UUID, UUID] | None:
    """Of the ids that begin so; None: none does."""
    digits = text.lower().replace("-", "")
    if not _ID.fullmatch(digits):
        return None
    # MariaDB sorts each version of UUIDs in its own way, so both are of version 7.
    least, most = (
        digits + end[len(digits) :] for end in ("0" * 12 + "70008" + "0" * 15, "f" * 12 + "7fffb" + "f" * 15)
    )
    return (UUID(least), UUID(most)) if is_id(least) and is_id(most) else None


def found(rows: QuerySet[Any], wanted: Wanted, *, may_see_payload: bool) -> QuerySet[Any]:
    """Those of ``rows`` that fit; but for a whole id and a registered task's path among the newest of them only."""
    if wanted.ids is not None:
        least, most = wanted.ids
        rows = rows.filter(pk=least) if least == most else rows.filter(pk__range=(least, most))
    words = list(wanted.words)
    for name, value in wanted.named.items():
        rows = _NAMED[name](rows, value, may_see_payload)
    for word in wanted.words:
        if _is_task(word):
            rows = narrowed(rows, "task_path", word)
            words.remove(word)
    if not words:
        return rows
    rows = newest(rows)
    surely, perhaps = Q(), Q()
    for word in words:
        shown = _has(rows, word, "task_path", "queue_name", "exception_class")
        surely &= shown
        # The list shows ``order=42``; what is stored is ``42``, or ``"order":42``.
        value = (word.partition("=")[2] or word).strip('"')
        perhaps &= shown | _has(rows, orjson.dumps(value).decode()[1:-1], "payload") | _has(rows, word, "message")
    return _checked(rows, surely, perhaps, words) if may_see_payload else rows.filter(surely)


def _has(rows: QuerySet[Any], word: str, *names: str) -> Q:
    """In one of these fields, as far as the table has them."""
    there = {field.name for field in rows.model._meta.fields}
    anywhere = Q(pk__in=[])
    for name in there.intersection(names):
        anywhere |= Q(IContains(AnyCase(name), word))
    return anywhere


def _checked(rows: QuerySet[Any], surely: Q, perhaps: Q, words: list[str]) -> QuerySet[Any]:
    """Those that surely fit, and of the others those whose texts, as they are shown, have all words."""
    checked = [row["pk"] for row in _texts(rows.filter(perhaps & ~surely)) if _shows(row, words)]
    return rows.filter(surely | Q(pk__in=checked))


def _by_task(rows: QuerySet[Any], value: str, may_see_payload: bool) -> QuerySet[Any]:
    if _is_task(value):
        return narrowed(rows, "task_path", value)
    rows = newest(rows)
    return rows.filter(_has(rows, value, "task_path"))


def _by_queue(rows: QuerySet[Any], value: str, may_see_payload: bool) -> QuerySet[Any]:
    return newest(rows).filter(queue_name=value)


def _by_error(rows: QuerySet[Any], value: str, may_see_payload: bool) -> QuerySet[Any]:
    """Of jobs that have FAILED, which are few."""
    if rows.model is not JobResult:
        return rows.none()
    rows = newest(narrowed(rows, "status", State.FAILED))
    surely = _has(rows, value, "exception_class")
    if not may_see_payload:
        return rows.filter(surely)
    texts = _texts(rows.filter(_has(rows, value, "message") & ~surely))
    checked = [row["pk"] for row in texts if value.lower() in _shown_message(row).lower()]
    return rows.filter(surely | Q(pk__in=checked))


_NAMED = {"task": _by_task, "queue": _by_queue, "error": _by_error}


def _is_task(word: str) -> bool:
    """Is it the path of a registered task? Its name alone may be that of others too, which have moved or are gone."""
    return any(task.module_path == word for task in registry.all())


def _texts(rows: QuerySet[Any]) -> Any:
    """What is shown of them, of the newest; the beginning of it, for a text may have megabytes."""
    parts = {"read_payload": "payload", "read_headers": "headers"}
    if rows.model is JobResult:
        parts |= {"read_message": "message"}
    annotated = rows.annotate(**{name: Substr(field, 1, READ) for name, field in parts.items()})
    names = ["pk", "task_path", "queue_name", *parts, *(["exception_class"] if rows.model is JobResult else [])]
    return annotated.order_by("-pk").values(*names)[:MOST_CHECKED]


def _shown_message(row: dict[str, Any]) -> str:
    return display.short_message(row.get("read_message") or "", READ)


def _shows(row: dict[str, Any], words: list[str]) -> bool:
    given = row["read_payload"], row["task_path"], row["read_headers"]
    call = display.short_arguments(*given, longest=READ, read=READ)
    texts = f"{row['task_path']}({call})", row["queue_name"], row.get("exception_class", ""), _shown_message(row)
    return all(any(word.lower() in text.lower() for text in texts) for word in words)

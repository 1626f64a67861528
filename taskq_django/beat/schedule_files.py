"""Schedules as JSON: what people own of each row, for a file that is kept beside the code or carried elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from ..exceptions import BrokenSchedule, did_you_mean
from ..models import Schedule
from ..models.moments import as_orm_has, aware, database_now
from ..models.schedule import OWNED_BY_PEOPLE
from .declared import differs, judged, row_values
from .firing import firing_of, task_of

MOMENTS = ("start_at", "end_at")


class FileRefused(Exception):
    """``problems``: each of them, in words."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Change:
    """What an import does to one row. No ``fields``: it is there, and as the file says."""

    row: Schedule
    database: str
    fields: tuple[str, ...]
    is_made: bool = False


def export_schedules(databases: Iterable[str]) -> str:
    """All of them by name, each field that people own; the same text for the same rows."""
    rows = [row for database in databases for row in Schedule.objects.using(database)]
    return json.dumps([_as_json(row) for row in sorted(rows, key=lambda row: row.name)], indent=2, ensure_ascii=False)


def _as_json(row: Schedule) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in OWNED_BY_PEOPLE}
    for name in MOMENTS:
        values[name] = values[name] and aware(values[name]).astimezone(UTC).isoformat()
    return values


def read_file(text: str, databases: Sequence[str]) -> list[Change]:
    """What this file would change. A field that it leaves out stays as it is, or is the default.

    Writes nothing. Raises FileRefused with every mistake.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileRefused([f"This is no JSON: {error}."]) from error
    if not isinstance(entries, list):
        raise FileRefused(["This is no list of schedules, as taskq_schedules export writes it."])
    problems: list[str] = []
    changes: list[Change] = []
    known = _Known(databases)
    for number, entry in enumerate(entries, 1):
        try:
            change = known.change(entry)
            now = known.now[change.database]
            problems += [f"{change.row.name}: {problem}" for problem in _problems_of(change, now)]
            changes.append(change)
        except FileRefused as refused:
            problems += [f"{_label(entry, number)}: {problem}" for problem in refused.problems]
    if problems:
        raise FileRefused(problems)
    return changes


def write_changes(changes: Iterable[Change]) -> None:
    """All or none of a database, each planned anew where its timing changes. Raises what the database raises."""
    changes = [change for change in changes if change.fields]
    with ExitStack() as stack:
        for database in {change.database for change in changes}:
            stack.enter_context(transaction.atomic(using=database))
        for change in changes:
            change.row.save(using=change.database, update_fields=None if change.is_made else change.fields)


class _Known:
    """The rows that are there, and those that the file has named so far."""

    def __init__(self, databases: Sequence[str]) -> None:
        self.now = {database: database_now(database) for database in databases}
        rows = [(database, row) for database in databases for row in Schedule.objects.using(database)]
        self._by_name = {(database, row.name): row for database, row in rows}
        self._by_declaration = {(database, row.declared_as): row for database, row in rows}
        self._in_code = {key: row_values(task, said) for key, task, said, problem in judged() if not problem}
        self._seen: set[tuple[str, Any]] = set()  # databases with names, and with the keys of rows

    def change(self, entry: Any) -> Change:
        """Of one entry, whose row is of the same declaration in code, or else of the same name. Raises FileRefused."""
        values = _values(entry)
        name, declared_as = values["name"], values.get("declared_as")
        places = _places_of(Schedule(**values), self.now)
        keys = ((self._by_declaration, declared_as), (self._by_name, name))
        found = [(db, row) for rows, key in keys if key for db in places if (row := rows.get((db, key)))]
        database, row = found[0] if found else (places[0], None)
        for key in {name, row.pk if row else name}:
            if (database, key) in self._seen:
                raise FileRefused(["this file names it twice."])
            self._seen.add((database, key))
        in_code = self._in_code.get(values.get("declared_as", row.declared_as if row else ""), {})
        if any(differs(field, values[field], said) for field, said in in_code.items() if field in values):
            values["is_overridden"] = True  # as by an edit in the admin, or the next beat would undo it
        if row is None:
            return Change(Schedule(**values), database, OWNED_BY_PEOPLE, is_made=True)
        if row.name != name and (database, name) in self._by_name:
            raise FileRefused([f'it is "{row.name}" here, and another row has this name.'])
        changed = tuple(field for field, value in values.items() if differs(field, getattr(row, field), value))
        for field in changed:
            setattr(row, field, values[field])
        return Change(row, database, changed)


def _places_of(row: Schedule, databases: Iterable[str]) -> list[str]:
    """Where it must be: in the database of its jobs; where nobody knows its task, anywhere."""
    try:
        wanted = task_of(row)[1].broker.database
    except BrokenSchedule:  # which is said where it is enabled
        return list(databases)
    return [wanted]


def _values(entry: Any) -> dict[str, Any]:
    """By field; only those that the entry has. Raises FileRefused."""
    if not isinstance(entry, Mapping):
        raise FileRefused(["it is no object with the fields of a schedule."])
    if not isinstance(entry.get("name"), str):
        raise FileRefused(['it has no "name".'])
    values: dict[str, Any] = {}
    problems = []
    if not isinstance(entry.get("declared_as", ""), str):
        problems.append("declared_as: it must be a text.")
    for key, value in entry.items():
        if key not in OWNED_BY_PEOPLE:
            problems.append(f'it has no field "{key}". {did_you_mean(key, OWNED_BY_PEOPLE)}'.rstrip())
        elif value is None and not Schedule._meta.get_field(key).null:
            problems.append(f"{key}: it cannot be null. Leave it out for the default.")
        else:
            try:
                values[key] = _moment(value) if key in MOMENTS and value is not None else value
            except (TypeError, ValueError):
                problems.append(f"{key}: it must be a moment with its offset, as 2030-12-24T18:00:00+00:00.")
    if problems:
        raise FileRefused(problems)
    return values


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return as_orm_has(moment.astimezone(UTC))


def _label(entry: Any, number: int) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name if isinstance(name, str) else f"entry {number}"


def _problems_of(change: Change, now: datetime) -> Iterator[str]:
    """Why the row could not be stored, or, where it is enabled, could not run."""
    row, spec = change.row, change.row.spec
    if not change.fields:
        return
    try:
        row.clean_fields()
        row.clean()
    except ValidationError as error:
        yield from (f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
        return
    row.spec = spec  # as the file has it, so that it is exported so
    if row.enabled:
        try:
            firing_of(row, now, change.database)
        except BrokenSchedule as error:
            yield str(error)

"""``manage.py taskq_schedules list|next|run|enable|disable|sync|check|export|import``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, no_translations

from ...backend import databases_of, our_backends
from ...beat import declared
from ...beat.firing import firing_of, run_now
from ...beat.schedule_files import FileRefused, export_schedules, read_file, write_changes
from ...exceptions import BrokenSchedule, SpecError, counted, did_you_mean
from ...models import Schedule
from ...models.moments import aware, database_now
from ...schedules.preview import next_runs, offset_text
from ..backends import chosen_brokers, in_a_line
from ..flags import number

MOST_NAMES = 10_000  # among which a nearest one is looked for


class Command(BaseCommand):
    help = "Look at schedules and act on them."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", help="What to do.")
        parsers = {}
        for verb, act, text in (
            ("list", self._list, "All schedules."),
            ("next", self._next, "The next runs of one schedule."),
            ("run", self._run, "Enqueue its job now, beside its slots."),
            ("enable", self._switch, "Let it run again, from its next slot on."),
            ("disable", self._switch, "Let it run no more."),
            ("sync", self._sync, "Make the rows what the code declares; a beat does so when it starts."),
            ("export", self._export, "Print all of them as JSON: what people own of each, by name."),
            ("import", self._import, "Make and change schedules as a file says. Nothing is written if any is wrong."),
            ("check", self._check, "Look for schedules that cannot run; exits with 1 when there is one."),
        ):
            parsers[verb] = verbs.add_parser(verb, help=text)
            parsers[verb].set_defaults(act=act)
        parsers["list"].add_argument("--json", action="store_true", help="One JSON list.")
        parsers["next"].add_argument("name", metavar="NAME", help="Name of the schedule.")
        parsers["next"].add_argument(
            "--count", type=number(int, 1, 50), metavar="N", default=10, help="So many, 50 at most. Default: 10."
        )
        parsers["import"].add_argument("file", metavar="FILE", help="As export prints it; - reads standard input.")
        parsers["import"].add_argument("--dry-run", action="store_true", help="Only say what would be changed.")
        for verb in ("run", "enable", "disable"):
            parsers[verb].add_argument("names", metavar="NAME", nargs="+", help="Names of schedules.")

    @no_translations
    @in_a_line()
    def handle(self, *args: Any, **given: Any) -> None:
        self._databases = databases_of(chosen_brokers(our_backends()))
        given["act"](given)

    def _list(self, given: dict[str, Any]) -> None:
        rows = [row for database in self._databases for row in Schedule.objects.using(database).order_by("name")]
        if given["json"]:
            self.stdout.write(json.dumps([_as_json(row) for row in rows], indent=2))
            return
        for row in rows:
            when = f"{row.spec} {row.timezone}" if row.kind != "interval" else row.spec
            self.stdout.write(f"{row.name}  [{when}]  {row.task_path}  {_outlook(row)}")

    def _next(self, given: dict[str, Any]) -> None:
        _, row = self._found([given["name"]])[0]
        try:
            now = database_now(row._state.db or self._databases[0])
            runs = next_runs(
                row.moments, row.timezone, now, start=aware(row.start_at), end=aware(row.end_at), count=given["count"]
            )
        except SpecError as error:
            raise CommandError(str(error)) from error
        for run in runs:
            note = f"  {run.note}" if run.note else ""
            self.stdout.write(f"{run.local:%Y-%m-%d %H:%M:%S} {offset_text(run.local)} {row.timezone}{note}")
        if not row.enabled:
            self.stderr.write(self.style.WARNING("It is disabled."))

    def _run(self, given: dict[str, Any]) -> None:
        for database, row in self._found(given["names"]):
            try:
                firing = run_now(row, database)
                vetoed = "" if firing.veto is None else f" (not let through: {firing.veto})"
                self.stdout.write(f"{row.name}: {firing.job.id}{vetoed}")
            except BrokenSchedule as error:
                raise CommandError(f"{row.name}: {error}") from error

    def _switch(self, given: dict[str, Any]) -> None:
        for database, row in self._found(given["names"]):
            row.enabled = given["verb"] == "enable"
            try:
                row.save(using=database, update_fields=["enabled"])
            except SpecError as error:
                raise CommandError(f"{row.name}: {error}") from error
            self.stdout.write(f"{row.name}: {_outlook(row)}")

    def _sync(self, given: dict[str, Any]) -> None:
        for database in self._databases:
            done = declared.sync(database)
            self.stdout.write(f"{done.created} created, {done.changed} changed, {done.removed} disabled")

    def _export(self, given: dict[str, Any]) -> None:
        self.stdout.write(export_schedules(self._databases))

    def _import(self, given: dict[str, Any]) -> None:
        try:
            text = sys.stdin.read() if given["file"] == "-" else Path(given["file"]).read_text("utf-8")
            changes = read_file(text, self._databases)
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{given['file']} cannot be read: {error}") from error
        except FileRefused as refused:
            raise CommandError("\n".join([*refused.problems, "Nothing was written."])) from refused
        if not given["dry_run"]:
            write_changes(changes)
        made = [change for change in changes if change.is_made]
        changed = [change for change in changes if change.fields and not change.is_made]
        for change in made:
            self.stdout.write(f"{change.row.name}: created")
        for change in changed:
            self.stdout.write(f"{change.row.name}: changed {', '.join(change.fields)}")
        same = len(changes) - len(made) - len(changed)
        would = " (dry run: nothing was written)" if given["dry_run"] else ""
        self.stdout.write(f"{len(made)} created, {len(changed)} changed, {same} as they were{would}")

    def _check(self, given: dict[str, Any]) -> None:
        count = 0
        for key, _, _, problem in declared.judged():
            if problem:
                self.stdout.write(f"{key}, in code: {problem}")
                count += 1
        for database in self._databases:
            for row in Schedule.objects.using(database).order_by("name"):
                for problem in problems_of(row, database):
                    self.stdout.write(f"{row.name}: {problem}")
                    count += row.enabled
        if count:
            raise CommandError(f"{counted(count, 'problem')} of enabled schedules")
        self.stdout.write("Every enabled schedule can run.")

    def _found(self, names: list[str]) -> list[tuple[str, Schedule]]:
        """Each by its name, with its database. Raises CommandError."""
        found = {}
        for database in self._databases:
            for row in Schedule.objects.using(database).filter(name__in=names):
                found[row.name] = (database, row)
        if missing := [name for name in names if name not in found]:
            known = [
                name
                for database in self._databases
                for name in Schedule.objects.using(database).values_list("name", flat=True)[:MOST_NAMES]
            ]
            near = f" {did_you_mean(missing[0], known)}".rstrip()
            raise CommandError(f"There is no schedule {missing[0]!r}.{near} See manage.py taskq_schedules list.")
        return [found[name] for name in dict.fromkeys(names)]


def _outlook(row: Schedule) -> str:
    if not row.enabled:
        return f"disabled ({row.disabled_reason})" if row.disabled_reason else "disabled"
    if row.broken:
        return f"broken: {row.broken}"
    if row.is_finished:
        return "finished"
    return f"next run {_text(row.next_run_at)}"


def problems_of(row: Schedule, database: str) -> Iterator[str]:
    """Why it cannot run, in words."""
    try:
        kind = row.moments
        if kind.next_after(database_now(database)) is None and not row.is_finished:
            yield "has no run to come"
    except SpecError as error:
        yield str(error)
    try:
        firing_of(row, database_now(database), database)
    except BrokenSchedule as error:
        yield str(error)


def _as_json(row: Schedule) -> dict[str, Any]:
    names = ("name", "task_path", "args", "kwargs", "kind", "spec", "timezone", "enabled", "run_count", "broken")
    moments = {name: _text(getattr(row, name)) for name in ("next_run_at", "last_run_at")}
    return {name: getattr(row, name) for name in names} | moments


def _text(moment: datetime | None) -> str | None:
    return aware(moment).isoformat() if moment else None

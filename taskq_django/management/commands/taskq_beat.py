"""``manage.py taskq_beat``: fires the schedules."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, no_translations
from django.db import connections, transaction

from ...backend import brokers_of, databases_of, our_backends
from ...beat import declared
from ...beat.service import AWAY, Beat
from ...beat.upcoming import upcoming
from ...brokers import Broker
from ...conf import Beat as Settings
from ...conf import Worker, taskq_settings
from ...exceptions import ConfigurationError, counted, one_line
from ...models import Schedule
from ...models.moments import database_now
from ...schedules.preview import offset_text
from ...worker.last_resort import LastResort
from ...worker.listening import HANGUP, listen
from ...worker.logs import configure_logs
from ...worker.loop import GRACE_EXPIRED, UNREACHABLE
from ...worker.probes import Probes
from ..flags import add_options, add_probes, chosen_values
from ..starting import ask_checks_why_none, get_ready, heeding_stops, probed

MOST_HOURS = 24 * 366
MOST_LINES = 10_000
LONGEST_TURN = 60.0  # seconds; to wait for databases that do not answer takes a beat long, and it lives


class Command(BaseCommand):
    help = "Enqueue the jobs of schedules when they are due. Any number of beats may run: each slot is enqueued once."
    requires_migrations_checks = False
    requires_system_checks = ()  # some of Django's connect: they are run once the database answers

    def add_arguments(self, parser: CommandParser) -> None:
        add_options(parser, Settings)
        parser.add_argument("--once", action="store_true", help="Fire what is due now, and end.")
        parser.add_argument("--dry-run", action="store_true", help="Only print what would be fired, and end.")
        parser.add_argument(
            "--hours", type=float, default=24.0, help="With --dry-run: so many hours from now. Default: 24."
        )
        add_options(parser, Worker, "connect_timeout")
        add_probes(parser)
        parser.add_argument("--log-format", choices=["text", "json"], default="text", help="Default: text.")

    def handle(self, *args: Any, **given: Any) -> None:
        configure_logs(given["log_format"], given["verbosity"])
        with heeding_stops():
            self._begin(given)

    def _begin(self, given: dict[str, Any]) -> None:
        ask_checks_why_none(self)
        if not 0 < given["hours"] <= MOST_HOURS:
            raise CommandError(f"--hours must be a number from 0 to {MOST_HOURS}.")
        try:
            settings = Settings(**chosen_values(taskq_settings().beat, given))
            brokers = brokers_of(our_backends())
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        with probed(given["health_port"], given["heartbeat_file"], settings.max_sleep + LONGEST_TURN) as probes:
            self._tick(settings, brokers, probes, given)

    def _tick(self, settings: Settings, brokers: dict[str, Broker], probes: Probes, given: dict[str, Any]) -> None:
        greeting = ""

        def look(here: dict[str, Broker]) -> None:
            nonlocal greeting
            if given["verbosity"] > 0 and not (given["dry_run"] or given["once"]):
                greeting = _greeting(databases_of(here.values()))

        patience = chosen_values(taskq_settings().worker, given)["connect_timeout"]
        # What runs once is run again: by cron, or by who has read which command is to be typed first.
        get_ready(self, brokers, patience, look, for_tables=not (given["once"] or given["dry_run"]))
        databases = databases_of(brokers.values())
        try:
            if given["dry_run"]:
                self._print(databases, timedelta(hours=given["hours"]))
                return
            beat = Beat(databases, settings)
            if given["once"]:
                count = beat.run_once()
                if given["verbosity"] > 0:
                    self.stdout.write(f"{counted(count, 'job')} enqueued")
                return
        except AWAY as error:
            self.stderr.write(self.style.ERROR(one_line(error)))
            raise SystemExit(UNREACHABLE) from error
        beat.each_turn = lambda is_ready: probes.turned(is_ready=is_ready)
        self._serve(beat, probes, greeting)

    def _serve(self, beat: Beat, probes: Probes, greeting: str) -> None:
        last_resort = LastResort(GRACE_EXPIRED)
        listen(dict.fromkeys((signal.SIGTERM, signal.SIGINT, *HANGUP), lambda *_: beat.stop()))
        if greeting:
            self.stdout.write(greeting)
            self.stdout.flush()
        try:
            beat.run()
            probes.turned(is_ready=False, is_stopping=True)
        finally:
            last_resort.close()
            connections.close_all()

    @no_translations
    def _print(self, databases: list[str], span: timedelta) -> None:
        for database in databases:
            with transaction.atomic(using=database):
                declared.sync(database, is_trial=True)  # what is new in the code would be fired too
                now = database_now(database)
                found = list(upcoming(database, now, now + span, limit=MOST_LINES))
                broken = list(Schedule.objects.using(database).filter(enabled=True).exclude(broken=""))
                transaction.set_rollback(True, using=database)  # nothing is changed
            for run, schedule in found:
                self.stdout.write(_line(run.local, run.note, schedule))
            if len(found) == MOST_LINES:
                self.stdout.write(f"… the first {MOST_LINES}")
            for schedule in broken:
                self.stderr.write(self.style.WARNING(f"broken: {schedule.name}: {schedule.broken}"))


def _greeting(databases: list[str]) -> str:
    lines = []
    for database in databases:
        declared.sync(database)  # so that those in code are counted
        rows = Schedule.objects.using(database).filter(enabled=True)
        enabled, broken = rows.count(), rows.exclude(broken="").count()
        text = counted(enabled, "schedule") + (f", {broken} of them broken" if broken else "")
        lines.append(f'taskq beat  {connections[database].display_name}, "{database}": {text}')
    return "\n".join([*lines, "Ready. Quit the beat with CONTROL-C."])


def _line(local: datetime, note: str, schedule: Schedule) -> str:
    when = f"{local:%Y-%m-%d %H:%M:%S} {offset_text(local)} {schedule.timezone}"
    return f"{when}  {schedule.name}  {schedule.task_path}" + (f"  ({note})" if note else "")

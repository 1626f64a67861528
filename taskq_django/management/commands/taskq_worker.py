"""``manage.py taskq_worker``: options, banner, and the choice between a supervisor and one process."""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import fields
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, OperationalError, connections

from ...backend import our_backends
from ...conf import Worker
from ...declaration import Option, options
from ...exceptions import BrokerError, BrokerUnavailable, ConfigurationError, TaskqError
from ...worker.banner import banner
from ...worker.lease import default_name
from ...worker.logs import configure_logs
from ...worker.options import WorkerOptions
from ...worker.process import brokers_of, run_here
from ...worker.readiness import pending_migrations
from ...worker.reloading import Sources, start_anew

logger = logging.getLogger("taskq_django.worker")

COMMAND = "taskq_worker"
UNREACHABLE = 69  # EX_UNAVAILABLE of sysexits.h


class Command(BaseCommand):
    help = "Run jobs until stopped. TERM or Ctrl-C: finish what runs; a second one: stop now."
    requires_migrations_checks = False
    requires_system_checks = ()  # some of Django's connect: they are run once the database answers

    def add_arguments(self, parser: CommandParser) -> None:
        for option in options(Worker):
            if option.flag:
                names = [option.short, option.flag] if option.short else [option.flag]
                text = f"{option.doc} Default: {option.default_text}."
                parser.add_argument(*names, dest=option.name, type=_reader(option), help=text.replace("%", "%%"))
        parser.add_argument(
            "--backend", action="append", help="Alias in TASKS; may be given more than once. Default: all of ours."
        )
        parser.add_argument("--burst", action="store_true", help="End when no job is ready.")
        parser.add_argument("--max-tasks", type=_count, help="End after so many jobs (of each process).")
        parser.add_argument(
            "--reload",
            action=argparse.BooleanOptionalAction,
            help="Start anew when a source file changes, once what runs has ended. Default: the setting DEBUG.",
        )
        parser.add_argument("--log-format", choices=["text", "json"], default="text", help="Default: text.")

    def handle(self, *args: Any, **given: Any) -> None:
        from ...conf import taskq_settings

        configure_logs(given["log_format"], given["verbosity"])
        # Before anything is waited for: what changes meanwhile has been loaded already.
        sources = Sources(COMMAND) if self._reloads(given) else None
        try:
            settings = taskq_settings().worker
            chosen = {
                option.name: getattr(settings, option.name) if given.get(option.name) is None else given[option.name]
                for option in options(Worker)
            }
            asked = _worker_options(chosen, given)
            brokers = brokers_of(asked.backends)
            self._wait_for(brokers, asked.connect_timeout)
            self._run_checks()
            self._wait_for_tables(brokers, asked.connect_timeout)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        if given["verbosity"] > 0:
            self.stdout.write(banner(asked, brokers))
            self.stdout.flush()
        code = run_here(asked) if asked.processes == 0 else _supervise(asked, brokers, sources)
        if code:
            raise SystemExit(code)

    def _run_checks(self) -> None:
        """What Django does before most commands. Raises SystemCheckError."""
        try:
            self.check()
        except OperationalError as error:  # of a database that no broker of this worker uses
            logger.warning("System checks were left out: %s", " ".join(str(error).split()))

    def _reloads(self, given: dict[str, Any]) -> bool:
        asked = given["reload"]
        return bool(django_settings.DEBUG if asked is None else asked) and not given["burst"]

    def _wait_for_tables(self, brokers: Any, seconds: float) -> None:
        """Until nothing is to be migrated: in a deployment workers often start before that is done."""
        deadline = time.monotonic() + seconds
        for database in dict.fromkeys(broker.database for broker in brokers.values()):
            told = False
            while pending := self._pending(database):
                command = f"manage.py migrate taskq_django --database {database}"
                if time.monotonic() >= deadline:
                    raise CommandError(f"The tables of taskq_django are older than the code: run `{command}`.")
                if not told:
                    logger.warning("Waiting for %d migrations, %g s at most: %s", len(pending), seconds, command)
                    told = True
                time.sleep(0.5)

    def _pending(self, database: str) -> list[str]:
        try:
            return pending_migrations(database)
        except DatabaseError as error:  # a worker's role may have rights on our tables only
            connections[database].close_if_unusable_or_obsolete()
            logger.warning("Whether migrations are pending cannot be read: %s", " ".join(str(error).split()))
            return []

    def _wait_for(self, brokers: Any, seconds: float) -> None:
        """Until every broker answers; exits with 69 when one does not within ``seconds``, with 1 without its tables."""
        deadline = time.monotonic() + seconds
        pause = 0.5
        for broker in brokers.values():
            while True:
                try:
                    broker.ready_queues()
                    break
                except BrokerUnavailable as error:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        self.stderr.write(self.style.ERROR(f"{error} Given up after {seconds:g} s."))
                        raise SystemExit(UNREACHABLE) from error
                    logger.warning("%s; next try in %.1f s", error, min(pause, left))
                    time.sleep(min(pause, left))
                    pause = min(pause * 2, 5.0)
                except BrokerError:
                    break  # its tables are missing: what is looked at next


def _worker_options(chosen: dict[str, Any], given: dict[str, Any]) -> WorkerOptions:
    known = {field.name for field in fields(WorkerOptions)}
    values = {name: value for name, value in chosen.items() if name in known}
    values["name"] = chosen["name"] or default_name()
    values["queues"] = frozenset(chosen["queues"])
    values["exclude_queues"] = frozenset(chosen["exclude_queues"])
    return WorkerOptions(
        **values,
        backends=tuple(given["backend"] or our_backends()),
        burst=given["burst"],
        max_tasks=given["max_tasks"],
        log_format=given["log_format"],
        verbosity=given["verbosity"],
    )


def _supervise(asked: WorkerOptions, brokers: Any, sources: Sources | None) -> int:
    from ...worker.supervisor import Supervisor

    supervisor = Supervisor(asked, brokers.values(), sources)
    try:
        code = supervisor.run()
    finally:
        connections.close_all()
    if supervisor.reloads:
        start_anew()
    return code


def _reader(option: Option) -> Any:
    def read(text: str) -> Any:
        try:
            return option.from_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; it must be a whole number from 1.")
    return int(text)


__all__ = ["Command", "TaskqError"]

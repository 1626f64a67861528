"""``manage.py taskq_worker``: options, banner, and the choice between a supervisor and one process."""

from __future__ import annotations

import argparse
import logging
import threading
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ...backend import brokers_of, our_backends
from ...conf import Worker, taskq_settings
from ...exceptions import ConfigurationError
from ...worker import listening
from ...worker.banner import banner
from ...worker.beat_process import beat_thread
from ...worker.lease import default_name
from ...worker.logs import configure_logs
from ...worker.options import WorkerOptions
from ...worker.process import run_here
from ...worker.reloading import Sources, start_anew
from ..backends import add_backend
from ..starting import add_options, ask_checks_why_none, chosen_values, get_ready, refuse_bad_engines

logger = logging.getLogger("taskq_django.worker")

COMMAND = "taskq_worker"


class Command(BaseCommand):
    help = "Run jobs until stopped. TERM or Ctrl-C: finish what runs; a second one: stop now."
    requires_migrations_checks = False
    requires_system_checks = ()  # some of Django's connect: they are run once the database answers

    def add_arguments(self, parser: CommandParser) -> None:
        add_options(parser, Worker)
        parser.add_argument(
            "-B", "--beat", action="store_true", help="Tick the schedules too, in a process of its own."
        )
        add_backend(parser)
        parser.add_argument("--burst", action="store_true", help="End when no job is ready.")
        parser.add_argument("--max-tasks", type=_count, help="End after so many jobs (of each process).")
        parser.add_argument(
            "--reload",
            action=argparse.BooleanOptionalAction,
            help="Start anew when a source file changes, once what runs has ended. Default: the setting DEBUG.",
        )
        parser.add_argument("--log-format", choices=["text", "json"], default="text", help="Default: text.")

    def handle(self, *args: Any, **given: Any) -> None:
        configure_logs(given["log_format"], given["verbosity"])
        ask_checks_why_none(self)
        # Before anything is waited for: what changes meanwhile has been loaded already.
        sources = Sources(COMMAND) if self._reloads(given) else None
        try:
            asked = _worker_options(chosen_values(taskq_settings().worker, given), given)
            brokers = brokers_of(asked.backends)
            here = get_ready(self, brokers, asked.connect_timeout)
            refuse_bad_engines(here)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        if given["verbosity"] > 0:
            self.stdout.write(banner(asked, brokers, here))
            self.stdout.flush()
        code = _run_here(asked) if asked.processes == 0 else _supervise(asked, brokers, sources)
        if code:
            raise SystemExit(code)

    def _reloads(self, given: dict[str, Any]) -> bool:
        asked = given["reload"]
        return bool(django_settings.DEBUG if asked is None else asked) and not given["burst"]


def _worker_options(chosen: dict[str, Any], given: dict[str, Any]) -> WorkerOptions:
    only_here = {name: given[name] for name in ("beat", "burst", "max_tasks", "log_format", "verbosity")}
    named = {**chosen, "name": chosen["name"] or default_name()}
    return WorkerOptions(**named, **only_here, backends=tuple(given["backend"] or our_backends()))


def _run_here(asked: WorkerOptions) -> int:
    if threading.current_thread() is threading.main_thread():
        listening.note()  # a stop that comes before the loop is there waits for it
    stop_beat = beat_thread(asked) if asked.beat else None
    try:
        return run_here(asked)
    finally:
        if stop_beat:
            stop_beat()


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


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; it must be a whole number from 1.")
    return int(text)

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
from ...brokers import Broker
from ...conf import Worker, taskq_settings
from ...exceptions import ConfigurationError
from ...worker import listening
from ...worker.banner import banner
from ...worker.beat_process import beat_thread
from ...worker.lease import default_name
from ...worker.logs import configure_logs
from ...worker.options import WorkerOptions
from ...worker.probes import Probes
from ...worker.process import run_here
from ...worker.reloading import Sources, start_anew
from ..flags import add_backend, add_options, add_probes, chosen_values, number
from ..starting import ask_checks_why_none, get_ready, heeding_stops, probed, refuse_bad_engines

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
        parser.add_argument(
            "--max-tasks", type=number(int, 1), metavar="N", help="End after so many jobs (of each process)."
        )
        parser.add_argument(
            "--reload",
            action=argparse.BooleanOptionalAction,
            help="Start anew when a source file changes, once what runs has ended. Default: the setting DEBUG.",
        )
        add_probes(parser)
        parser.add_argument("--log-format", choices=["text", "json"], default="text", help="Default: text.")

    def handle(self, *args: Any, **given: Any) -> None:
        configure_logs(given["log_format"], given["verbosity"])
        with heeding_stops():
            if code := self._serve(given):
                raise SystemExit(code)

    def _serve(self, given: dict[str, Any]) -> int:
        ask_checks_why_none(self)
        # Before anything is waited for: what changes meanwhile has been loaded already.
        sources = Sources(COMMAND) if self._reloads(given) else None
        greeting = ""

        def look(here: dict[str, Broker]) -> None:
            nonlocal greeting
            refuse_bad_engines(here)
            greeting = banner(asked, brokers, here) if given["verbosity"] > 0 else ""

        try:
            asked = _worker_options(chosen_values(taskq_settings().worker, given), given)
            brokers = brokers_of(asked.backends)
            # A loop that has not turned for a lease lives for nobody: others count its worker as lost.
            with probed(asked.health_port, asked.heartbeat_file, asked.lease) as probes:
                get_ready(self, brokers, asked.connect_timeout, look)
                if greeting:
                    self.stdout.write(greeting)
                    self.stdout.flush()
                if asked.processes == 0:
                    return _run_here(asked, probes)
                return _supervise(asked, brokers, probes, sources)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error

    def _reloads(self, given: dict[str, Any]) -> bool:
        asked = given["reload"]
        return bool(django_settings.DEBUG if asked is None else asked) and not given["burst"]


def _worker_options(chosen: dict[str, Any], given: dict[str, Any]) -> WorkerOptions:
    names = ("beat", "burst", "max_tasks", "log_format", "verbosity", "health_port", "heartbeat_file")
    only_here = {name: given[name] for name in names}
    named = {**chosen, "name": chosen["name"] or default_name()}
    return WorkerOptions(**named, **only_here, backends=tuple(dict.fromkeys(given["backend"] or our_backends())))


def _run_here(asked: WorkerOptions, probes: Probes) -> int:
    if is_main := threading.current_thread() is threading.main_thread():
        listening.note()  # a stop that comes before the loop is there waits for it
    stop_beat = beat_thread(asked) if asked.beat else None
    try:
        return run_here(asked, probes)
    finally:
        if stop_beat:
            stop_beat()
        if is_main:
            listening.stop_listening()


def _supervise(asked: WorkerOptions, brokers: Any, probes: Probes, sources: Sources | None) -> int:
    from ...worker.supervisor import Supervisor

    with probes.rests():  # how processes are started depends on whether another thread runs
        supervisor = Supervisor(asked, brokers.values(), probes, sources)
    try:
        code = supervisor.run()
    finally:
        connections.close_all()
    if supervisor.reloads:
        probes.close()
        start_anew()
    return code

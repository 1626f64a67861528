"""What the commands do before they serve: read their flags, wait for the database, look for mistakes."""

from __future__ import annotations

import argparse
import itertools
import logging
import time
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor

from ..backend import databases_of, our_backends
from ..backoff import wait_after
from ..brokers import Broker
from ..conf.declaration import Option, options
from ..exceptions import BrokerError, BrokerUnavailable, clause, counted, one_line
from ..store.limits import limit_lines, unlimit_lines
from ..worker.loop import UNREACHABLE
from ..worker.maintenance import engine_problems

logger = logging.getLogger("taskq_django.worker")

PATIENCE = 5.0  # seconds for an answer of a database


def add_options(parser: CommandParser, section: type[Any], *only: str) -> None:
    """A flag for each setting of a section that has one, or for ``only`` these."""
    for option in options(section):
        if option.flag and (not only or option.name in only):
            names = [option.short, option.flag] if option.short else [option.flag]
            text = f"{option.doc} Default: {option.default_text}."
            parser.add_argument(*names, dest=option.name, type=_reader(option), help=text.replace("%", "%%"))


def chosen_values(settings: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values in force of a section: the flag's, where it was given."""
    return {
        option.name: getattr(settings, option.name) if given.get(option.name) is None else given[option.name]
        for option in options(type(settings))
    }


def ask_checks_why_none(command: BaseCommand) -> None:
    """Where TASKS has no backend of ours our checks may know why: its path is misspelt. They read no database.

    Raises SystemCheckError.
    """
    if not our_backends():
        command.check(tags=["taskq_django"])


def get_ready(command: BaseCommand, brokers: Mapping[str, Broker], seconds: float) -> dict[str, Broker]:
    """Wait until a database answers, at most so long, and for the tables of all that do.

    Returns the brokers of these; the service goes on asking the others. Exits with 69 when none answers; raises
    CommandError without the tables, SystemCheckError for a mistake.
    """
    limit_lines(databases_of(brokers.values()), PATIENCE)
    try:
        here = _wait_for_answers(command, brokers, seconds)
        try:
            command.check()  # what Django does before most commands
        except OperationalError as error:  # of a database that is away, or that no broker of this service uses
            logger.warning("System checks were left out: %s", one_line(error))
        _wait_for_tables(here, seconds)
    finally:
        unlimit_lines()
    return here


def refuse_bad_engines(brokers: Mapping[str, Broker]) -> None:
    """Raises CommandError where jobs would be lost in the engine beside a database, or could not be claimed there."""
    for broker in brokers.values():
        if broker.outside is None or not broker.sees_all:  # it does not answer, which was said
            continue
        for problem in engine_problems(broker):
            if problem.is_error:
                raise CommandError(str(problem))
            logger.warning("%s", problem)


def _wait_for_answers(command: BaseCommand, brokers: Mapping[str, Broker], seconds: float) -> dict[str, Broker]:
    deadline = time.monotonic() + seconds
    for failures in itertools.count(1):
        here: dict[str, Broker] = {}
        errors: list[BrokerUnavailable] = []
        for alias, broker in brokers.items():
            try:
                broker.ready_queues()
            except BrokerUnavailable as error:
                errors.append(error)
                continue
            except BrokerError:
                pass  # its tables are missing: what is looked at next
            here[alias] = broker
        left = deadline - time.monotonic()
        pause = min(wait_after(failures, 0.5, 5.0), left)
        for each in errors:
            if here:
                logger.warning("%s; the others are served meanwhile", clause(each))
            elif left > 0:
                logger.warning("%s; next try in %.1f s", clause(each), pause)
        if here:
            break
        if left <= 0:
            command.stderr.write(command.style.ERROR(f"{clause(errors[0])}. Given up after {seconds:g} s."))
            raise SystemExit(UNREACHABLE) from errors[0]
        time.sleep(pause)
    return here


def _wait_for_tables(brokers: Mapping[str, Broker], seconds: float) -> None:
    """Until nothing is to be migrated: in a deployment services often start before that is done."""
    deadline = time.monotonic() + seconds
    for database in databases_of(brokers.values()):
        told = False
        while pending := _pending(database):
            to_type = f"manage.py migrate taskq_django --database {database}"
            if time.monotonic() >= deadline:
                raise CommandError(f"The tables of taskq_django are older than the code: run `{to_type}`.")
            if not told:
                logger.warning("Waiting for %s, %g s at most: %s", counted(len(pending), "migration"), seconds, to_type)
                told = True
            time.sleep(0.5)


def _pending(database: str) -> list[str]:
    """The names of our migrations that are not applied there."""
    try:
        executor = MigrationExecutor(connections[database])
    except DatabaseError as error:  # the service's role may have rights on our tables only
        connections[database].close_if_unusable_or_obsolete()
        logger.warning("Whether migrations are pending cannot be read: %s", one_line(error))
        return []
    ours = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "taskq_django"]
    return [migration.name for migration, _ in executor.migration_plan(ours) if migration.app_label == "taskq_django"]


def _reader(option: Option) -> Any:
    def read(text: str) -> Any:
        try:
            return option.from_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read

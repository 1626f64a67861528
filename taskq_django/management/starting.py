"""What the commands do before they serve: wait for the database, look for mistakes."""

from __future__ import annotations

import _thread
import errno
import itertools
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from ..backend import databases_of, our_backends
from ..backoff import wait_after
from ..brokers import Broker
from ..exceptions import BrokerError, BrokerUnavailable, clause, counted, one_line
from ..models import WorkerProcess
from ..store.connections import OUTAGE, own_transaction
from ..store.limits import limit_lines, unlimit_lines
from ..worker import heartbeat
from ..worker.listening import HANGUP, listen, stop_listening
from ..worker.loop import UNREACHABLE
from ..worker.maintenance import engine_problems
from ..worker.probes import Address, Probes, listening_at, spelled_address

logger = logging.getLogger("taskq_django.worker")

PATIENCE = 5.0  # seconds for an answer of a database
SOON = 0.5  # seconds


def ask_checks_why_none(command: BaseCommand) -> None:
    """Where TASKS has no backend of ours our checks may know why: its path is misspelt. They read no database.

    Raises SystemCheckError.
    """
    if not our_backends():
        command.check(tags=["taskq_django"])


@contextmanager
def heeding_stops() -> Iterator[None]:
    """A stop signal ends the command at once until its service listens itself, because nothing has begun.

    Python loses what is raised while it runs a callback of a weak reference, as imports have them, or a ``__del__``. So
    a signal that has ended nothing within a second comes again; by then the service itself may hear it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()

    def end(number: int, frame: Any) -> None:
        _thread.start_new_thread(repeat, (number,))  # takes no lock, which this thread may hold
        raise SystemExit(0)

    def repeat(number: int) -> None:
        if not over.wait(1.0):
            os.kill(os.getpid(), number)

    listen(dict.fromkeys((signal.SIGTERM, signal.SIGINT, *HANGUP), end))
    try:
        yield
    finally:
        over.set()
        if signal.getsignal(signal.SIGINT) is end:
            stop_listening()


@contextmanager
def probed(address: Address | None, file: str | None, patience: float) -> Iterator[Probes]:
    """What answers probes, from now until the service has ended. ``patience``: as of Probes. Raises CommandError."""
    listener, begun = _listener_at(address) if address else None, _begun(file) if file else None
    try:
        probes = Probes(listener, begun, patience=patience)
    except OSError as error:  # of a page that needs a folder
        remedy = "Give this process a folder for temporary files: mount /tmp, or set TMPDIR."
        raise CommandError(f"--health-port: {error.strerror}. {remedy}") from error
    try:
        yield probes
    finally:
        probes.close()


def _listener_at(address: Address) -> socket.socket:
    try:
        return listening_at(address)
    except OSError as error:
        remedies = {
            errno.EADDRINUSE: f"Name another port, or end what listens there: ss -ltnp sport = :{address[1]}",
            errno.EACCES: "A user without special rights may listen from port 1024 on.",
        }
        remedy = remedies.get(error.errno or 0, "Name an address of this host, or the port alone for all of them.")
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror  # < 0: of a name
        raise CommandError(f"--health-port {spelled_address(address)}: {why}. {remedy}") from error


def _begun(file: str) -> str:
    try:
        heartbeat.begin(file)
    except OSError as error:
        remedy = "Name a file of its own, in a folder where this user may write."
        raise CommandError(f"--heartbeat-file {file}: {error.strerror}. {remedy}") from error
    return file


def refuse_patches() -> None:
    """Raises CommandError where threads that take turns by themselves stand in for Python's: nobody else would run."""
    for part in (_thread.start_new_thread, select.select, time.sleep):
        if (library := (part.__module__ or "").partition(".")[0]) in {"gevent", "eventlet"}:
            raise CommandError(
                f"{library} has replaced {part.__name__} of Python in this process, so that the threads of a service "
                "would keep each other from running. Do not patch where manage.py runs taskq_worker or taskq_beat."
            )


def get_ready(
    command: BaseCommand,
    brokers: Mapping[str, Broker],
    seconds: float,
    look: Callable[[dict[str, Broker]], None] = lambda here: None,
    *,
    for_tables: bool = True,
) -> dict[str, Broker]:
    """Wait until a database answers, at most so long, and (``for_tables``) as long for the tables of all that do.

    Returns the brokers of these; the service goes on asking the others. ``look``: what else it has to ask of them. All
    begins anew where one goes away meanwhile. Exits with 69 when none answers. Raises CommandError without the tables,
    SystemCheckError for a mistake.
    """
    refuse_patches()
    deadline, databases = time.monotonic() + seconds, databases_of(brokers.values())
    try:
        while True:
            limit_lines(databases, PATIENCE)
            here = _wait_for_answers(command, brokers, deadline, seconds)
            limit_lines(databases, max(PATIENCE, seconds))  # because the answers to what follows may take long
            try:
                _run_checks(command)
                _wait_for_tables(here, seconds if for_tables else 0.0)
                look(here)
                return here
            except (BrokerUnavailable, *OUTAGE) as error:
                if time.monotonic() > deadline:
                    _give_up(command, error, seconds)
                logger.warning("%s; the start begins anew", clause(error))
                time.sleep(SOON)
    finally:
        unlimit_lines()


def _run_checks(command: BaseCommand) -> None:
    """What Django does before most commands."""
    try:
        command.check()
    except OUTAGE as error:  # of a database that is away, or that no broker of this service uses
        logger.warning("System checks were left out: %s", one_line(error))


def refuse_bad_engines(brokers: Mapping[str, Broker]) -> None:
    """Raises CommandError where jobs would be lost in the engine beside a database, or could not be claimed there."""
    for broker in brokers.values():
        if broker.outside is None or not broker.sees_all:  # it does not answer, which was said
            continue
        for problem in engine_problems(broker):
            if problem.is_error:
                raise CommandError(str(problem))
            logger.warning("%s", problem)


def _wait_for_answers(
    command: BaseCommand, brokers: Mapping[str, Broker], deadline: float, seconds: float
) -> dict[str, Broker]:
    for failures in itertools.count(1):
        here: dict[str, Broker] = {}
        errors: list[BrokerUnavailable] = []
        for alias, broker in brokers.items():
            try:
                broker.ready_queues()
                _write_nothing(broker.database)
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
            _give_up(command, errors[0], seconds)
        time.sleep(pause)
    return here


def _write_nothing(database: str) -> None:
    """As a trial, because a service writes all the time. Raises BrokerUnavailable, as for a copy that is read only."""
    try:
        with own_transaction(database):
            WorkerProcess.objects.using(database).filter(id="").update(name="")
    except OUTAGE as error:
        if "locked" not in str(error):  # an SQLite file is so while others write
            raise BrokerUnavailable(
                f"DATABASES[{database!r}] takes no writes: {one_line(error)}", known=True
            ) from error


def _give_up(command: BaseCommand, error: Exception, seconds: float) -> NoReturn:
    command.stderr.write(command.style.ERROR(f"{clause(error)}. Given up after {seconds:g} s."))
    raise SystemExit(UNREACHABLE) from error


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
            time.sleep(SOON)


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

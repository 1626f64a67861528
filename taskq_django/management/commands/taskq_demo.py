"""``manage.py taskq_demo``: some jobs of each kind, run by a worker, and then how to look at them."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import NoReverseMatch, reverse

from ...backend import brokers_of, our_backends
from ...beat.firing import run_now
from ...compat import InvalidTask
from ...exceptions import counted
from ...models import Schedule
from ...results import Result
from ...states import State
from ...worker.lease import default_name
from ...worker.logs import FRAMEWORKS, OURS
from ...worker.options import WorkerOptions
from ...worker.probes import Probes
from ...worker.process import run_here
from ..backends import in_a_line
from ..flags import number

ALIAS = "default"
NAME = "taskq_demo"  # of the schedule
RUNS = 10  # of the schedule, then it is finished
LOOK = 0.2  # seconds between two looks at the jobs


class Command(BaseCommand):
    help = "Enqueue some jobs of each kind and a schedule, run them for some seconds, and say how to look at them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--user",
            metavar="NAME",
            help="Make a superuser of this name, with a password that is printed. Default: none.",
        )
        parser.add_argument("--force", action="store_true", help="Do it where the setting DEBUG is off, too.")
        parser.add_argument(
            "--timeout", type=number(float, 1), default=60.0, metavar="SECONDS", help="For all jobs. Default: 60."
        )

    @in_a_line()
    def handle(self, *args: Any, **given: Any) -> None:
        if not (settings.DEBUG or given["force"]):
            raise CommandError("DEBUG is off, and the demo's jobs are for nobody in production: --force enqueues them.")
        if ALIAS not in our_backends():
            raise CommandError(f"The demo's jobs wait in TASKS[{ALIAS!r}], which is no backend of taskq_django.")
        from .. import demo  # makes its tasks known in this process, so nobody does but who runs the demo

        try:
            results = self._enqueued(demo)
        except InvalidTask as error:  # its queue is not among those of the backend
            raise CommandError(str(error)) from error
        count = counted(len(results), "job")
        self.stdout.write(f"{count} in the queue {demo.QUEUE!r}; a worker runs them for some seconds …")
        self.stdout.flush()
        _run(results, demo.QUEUE, given["timeout"])
        for result in results:
            self.stdout.write(_line(result))
        if late := [result for result in results if not result.is_finished]:
            raise CommandError(f"{counted(len(late), 'job')} did not end within {given['timeout']:g} s.")
        self._say_how_to_look(given["user"])

    def _enqueued(self, tasks: Any) -> list[Result[Any]]:
        results = [tasks.greet.enqueue(name) for name in ("Ann", "Ben")]
        results += [task.enqueue() for task in (tasks.build_report, tasks.copy_rows, tasks.call_service)]
        results.append(tasks.read_page.enqueue(3))
        database = brokers_of((ALIAS,))[ALIAS].database
        schedules = Schedule.objects.using(database)
        schedules.filter(name=NAME).delete()
        note = f"Made by manage.py taskq_demo. It ends after {RUNS} runs."
        schedule = schedules.create(
            name=NAME, task_path=tasks.tidy_up.module_path, kind="interval", spec="1 minute", max_runs=RUNS, note=note
        )
        return [*results, tasks.tidy_up.get_result(run_now(schedule, database).job.id)]

    def _say_how_to_look(self, user: str | None) -> None:
        manage = _manage()
        try:
            there = reverse("admin:taskq_django_dashboard_changelist")
        except NoReverseMatch:
            there = "/admin/"  # as in a new project
        who = made_user(user) if user else f"a superuser: {manage} createsuperuser"
        self.stdout.write(self.style.SUCCESS("To look at them in the admin:"))
        self.stdout.write(f"  {manage} runserver")
        self.stdout.write(f"  http://localhost:8000{there}")
        self.stdout.write(f"  {who}")
        self.stdout.write(f"The schedule {NAME!r} runs each minute, {RUNS} times, while this does:")
        self.stdout.write(f"  {manage} taskq_worker --beat")


def _run(results: list[Result[Any]], queue: str, timeout: float) -> None:
    """Be a worker of the demo's queue until all have ended, whoever runs them."""
    options = WorkerOptions(name=default_name(), backends=(ALIAS,), queues=(queue,), processes=0)
    deadline, look_at = monotonic() + timeout, 0.0

    def are_done() -> bool:
        nonlocal look_at
        if monotonic() < look_at:
            return False
        look_at = monotonic() + LOOK
        for result in results:
            if not result.is_finished:
                result.refresh()
        return monotonic() > deadline or all(result.is_finished for result in results)

    with _quiet(), closing(Probes(patience=options.lease)) as probes:
        run_here(options, probes, are_done)


@contextmanager
def _quiet() -> Iterator[None]:
    """The log of a worker would tell of failures, and the demo has two on purpose."""
    loggers = [logging.getLogger(name) for name in (OURS, *FRAMEWORKS)]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _line(result: Result[Any]) -> str:
    told = counted(result.attempts, "attempt")
    if result.is_finished and result.started_at and result.finished_at:
        told += f", {(result.finished_at - result.started_at).total_seconds():.2f} s"
    if result.state is State.FAILED:
        told += f", {result.errors[-1].exception_class.__name__}, as it should"
    return f"  {result.state:<11} {result.task.name:<13} {told}"


def _manage() -> str:
    """How the reader calls manage.py, with this Python."""
    script = sys.argv[0] if sys.argv[0].endswith("manage.py") else "manage.py"
    return f"{_short(sys.executable)} {_short(script)}"


def _short(path: str) -> str:
    return min(path, os.path.relpath(path), key=len) if Path(path).is_absolute() else path


def made_user(name: str) -> str:
    """Make it; returns how to log in."""
    model = get_user_model()
    field = str(model.USERNAME_FIELD)
    if model._default_manager.filter(**{field: name}).exists():
        return f"user {name}, who is there already; a new password: {_manage()} changepassword {name}"
    asked = {each: "demo@example.com" for each in model.REQUIRED_FIELDS if each == "email"}
    call_command("createsuperuser", interactive=False, verbosity=0, **{field: name}, **asked)
    user = model._default_manager.get(**{field: name})
    password = secrets.token_urlsafe(9)
    user.set_password(password)
    user.save()
    return f"user {name}, password {password}"

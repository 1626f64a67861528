"""``TASKQ``, which tunes our services. Every setting is declared once: its type, default, flag, check and text.

The system checks, the command line and the reference page of the docs read the declarations below.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from django.conf import settings
from django.core.signals import setting_changed

from ..exceptions import ConfigurationError
from .declaration import Problem, option, options, read_section, shown, spelled_span, unknown_key

QUEUE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}")


def queue_name_problem(name: object) -> str | None:
    """What is wrong with ``name`` as the name of a queue, as the end of a sentence; None when it is right."""
    if isinstance(name, str) and QUEUE_NAME.fullmatch(name):
        return None
    return (
        f"{shown(name)} is no queue name: 1 to 64 of the characters A-Z a-z 0-9 _ . : - "
        "and the first one a letter, a digit or _"
    )


SHORT = 3600.0  # seconds; who keeps results for less has most likely meant another unit
QUEUES: dict[str, Any] = {"has_flag": True, "minimum": 1, "check": queue_name_problem}
KEPT: dict[str, Any] = {"minimum": 1, "maximum": 36_500 * 86_400}  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    processes: int = option(1, has_flag=True, short="-p", maximum=256, doc="Processes; 0 runs in the calling process.")
    threads: int = option(
        4, has_flag=True, short="-t", minimum=1, maximum=1000, doc="Sync jobs one process runs at a time."
    )
    coroutines: int = option(
        100, has_flag=True, short="-c", minimum=1, maximum=10_000, doc="Async jobs one process runs at a time."
    )
    queues: tuple[str, ...] = option((), **QUEUES, short="-Q", doc="Only these queues; empty means all.")
    exclude_queues: tuple[str, ...] = option((), **QUEUES, short="-X", doc="All queues but these.")
    grace: float = option(25.0, has_flag=True, maximum=86_400, doc="Time to finish running jobs after a stop signal.")
    connect_timeout: float = option(
        60.0, has_flag=True, maximum=86_400, doc="Time to wait at start for an unreachable broker."
    )
    name: str | None = option(
        None, has_flag=True, minimum=1, maximum=100, doc="Shown in the admin and the log; None means host:pid."
    )
    batch: int = option(
        100,
        minimum=1,
        maximum=1000,
        doc="Jobs claimed or settled in one round trip; six times as many while each takes less than 1 ms.",
    )
    heartbeat: float = option(10.0, minimum=0.01, maximum=600, doc="Time between two signs of life of a worker.")
    lease: float = option(
        30.0,
        minimum=0.05,
        maximum=86_400,
        doc="Without a sign of life for so long a worker counts as lost: others run its jobs. At least 2 × HEARTBEAT.",
    )
    maintenance: float = option(
        5.0,
        minimum=0.05,
        maximum=3600,
        doc="Time between two looks for jobs of lost workers. Old results are looked for twelve times less often.",
    )
    max_tasks_per_child: int | None = option(
        None, has_flag=True, minimum=1, doc="A process is replaced after so many jobs; None: never."
    )
    max_memory_per_child: int | None = option(
        None,
        has_flag=True,
        minimum=1,
        unit="MiB",
        doc="A process is replaced when it uses more memory than this; None: never.",
    )
    run_context: str = option(
        "",
        maximum=1000,
        doc="Path of a function that gets the claim and returns a context manager, which stands round each run.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    max_sleep: float = option(
        1.0,
        has_flag=True,
        minimum=0.05,
        maximum=60,
        doc="Longest time between two looks for schedules: an edit is picked up within it.",
    )
    missed_after: float = option(
        60.0,
        minimum=1,
        maximum=86_400,
        doc="A run that starts later than this was missed: what becomes of it, its schedule says.",
    )
    batch: int = option(100, minimum=1, maximum=1000, doc="Schedules that fire in one transaction.")
    mail_failures: float | None = option(
        None,
        minimum=60,
        maximum=7 * 86_400,
        doc="ADMINS get a mail so often, of the jobs that failed for good since the last one, if any did; None: never.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    keep_successes: float | None = option(
        14 * 86_400.0, **KEPT, doc="Jobs that succeeded are removed so long after their end; None: never."
    )
    keep_failures: float | None = option(
        30 * 86_400.0,
        **KEPT,
        doc="Jobs that failed, were cancelled or expired are removed so long after their end; None: never.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    page_size: int = option(50, minimum=1, maximum=1000, doc="Rows of a list page.")
    count_limit: int = option(10_000, minimum=1, doc="Lists count no further than this.")
    redact: tuple[str, ...] = option(
        ("pass", "pwd", "token", "secret", "key", "authorization", "credential", "cvv", "cvc", "ssn"),
        minimum=1,
        doc="The value of an argument is masked where its name contains one of these, in any case. A password within a "
        "URL is masked everywhere.",
    )
    schedulable: tuple[str, ...] = option(
        ("*",), minimum=1, doc="Tasks that may be scheduled in the admin, by their paths; * stands for any characters."
    )
    schedule_permission: str | None = option(
        None,
        minimum=3,
        maximum=200,
        doc="Permission (app.codename) that a user must have to schedule a task that names none of its own.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefaults:
    max_attempts: int = option(1, minimum=1, maximum=1000, doc="Runs before a job that raises has FAILED.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taskq:
    """The whole of ``TASKQ``; its fields are the sections."""

    worker: Worker = Worker()
    beat: Beat = Beat()
    results: Results = Results()
    admin: Admin = Admin()
    task_defaults: TaskDefaults = TaskDefaults()


SECTIONS: dict[str, type[Any]] = {name.upper(): kind for name, kind in get_type_hints(Taskq).items()}


@functools.cache
def taskq_settings() -> Taskq:
    """The settings in force. Raises ConfigurationError, with every mistake in it, when TASKQ is wrong.

    Follows ``override_settings``; so read it where it is used and not when a module is imported.
    """
    sections, found = _read_taskq()
    refuse(found)
    return Taskq(**sections)


def is_redacted(name: str) -> bool:
    """Is the value of what has this name a secret, by ``ADMIN["REDACT"]``?"""
    lower = name.lower()
    return any(word.lower() in lower for word in taskq_settings().admin.redact)


def right_settings() -> Taskq:
    """What is right in TASKQ, and defaults for the rest: for what Django itself reads before our checks have run."""
    return Taskq(**_read_taskq()[0])


def problems() -> list[Problem]:
    """Every mistake in ``TASKQ``."""
    return _read_taskq()[1]


def advice() -> Iterator[Problem]:
    """What is right in ``TASKQ`` and hardly meant."""
    kept = right_settings().results
    for name, seconds in (("KEEP_SUCCESSES", kept.keep_successes), ("KEEP_FAILURES", kept.keep_failures)):
        if seconds is not None and seconds < SHORT:
            message = f"is {spelled_span(seconds)}: a result is removed so long after the end of its job."
            yield Problem(f'TASKQ["RESULTS"]["{name}"]', message, "Write timedelta(days=14) for two weeks.", "W016")
    if right_settings().beat.mail_failures is not None and not settings.ADMINS:
        message = "is set, and nobody is in ADMINS."
        yield Problem('TASKQ["BEAT"]["MAIL_FAILURES"]', message, "Put those who are to be told into ADMINS.", "W019")


def _read_taskq() -> tuple[dict[str, Any], list[Problem]]:
    given = getattr(settings, "TASKQ", {})
    if not isinstance(given, Mapping):
        return {}, read_section(Taskq, given, "TASKQ")[1]
    sections: dict[str, Any] = {}
    found = []
    for key, value in given.items():
        if key not in SECTIONS:
            found.append(_unknown_section(key))
            continue
        where = f'TASKQ["{key}"]'
        values, wrong = read_section(SECTIONS[key], value, where)
        sections[key.lower()] = SECTIONS[key](**values)
        found += wrong
    worker = sections.get("worker", Worker())
    if worker.lease < 2 * worker.heartbeat:
        message = f"is {worker.lease:g} s, less than twice HEARTBEAT ({worker.heartbeat:g} s)."
        hint = "One late sign of life would give a working worker's jobs to others. Make it three times HEARTBEAT."
        found.append(Problem('TASKQ["WORKER"]["LEASE"]', message, hint, "E003"))
    return sections, found


def _unknown_section(key: object) -> Problem:
    for name, section in SECTIONS.items():
        if isinstance(key, str) and key.lower() in {each.name for each in options(section)}:
            remedy = f'It belongs into a section: TASKQ["{name}"]["{key.upper()}"].'
            return Problem("TASKQ", f"has no key {shown(key)}. {remedy}", "", "E002")
    return unknown_key("TASKQ", key, SECTIONS)


def refuse(found: list[Problem]) -> None:
    """Raise ConfigurationError with all of them, if there are any."""
    if found:
        raise ConfigurationError("\n".join(str(problem) for problem in found))


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "TASKQ":
        taskq_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="taskq_django.conf")

"""What the system checks can say. The reference in the documentation is made from this table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Advice

from ..conf.declaration import Problem

TAG = "taskq_django"

CHECKS = {
    "E001": "``TASKQ``, one of its sections, or ``OPTIONS`` is not a dict.",
    "E002": "An unknown key; the nearest valid one is named.",
    "E003": "A value of the wrong type or out of range.",
    "E004": (
        "The URL of a broker or a bell cannot be read, or leads to an engine that loses jobs. A password in it is "
        "never shown."
    ),
    "E005": (
        "The broker names a database that is not in ``DATABASES``, or a cache that is not in ``CACHES`` or not kept "
        "in Redis."
    ),
    "E006": "The broker needs an extra that is not installed, or is not available in this version.",
    "E007": "``QUEUES`` is not a list of queue names: 1 to 64 of ``A-Z a-z 0-9 _ . : -``.",
    "E008": "``BACKEND`` looks like ours, misspelt.",
    "E009": "Django 5.2 without the backport of ``django.tasks``.",
    "E010": "Two tasks have one path.",
    "E011": (
        "The jobs of a backend would be in a database that is not supported: it must be PostgreSQL, MariaDB, MySQL"
        " or SQLite."
    ),
    "E012": (
        "Your routers send some models of this app to one database and some to another. A job and its result are "
        "written in one transaction, so all belong together."
    ),
    "E013": "Your routers do not let ``migrate`` make our tables in the database where a backend keeps its jobs.",
    "E014": (
        "The server is too old: it takes PostgreSQL 14, MariaDB 10.6, MySQL 8.0.11 or SQLite 3.35. This one "
        "connects, so it runs with ``manage.py check --database default`` and with ``migrate``."
    ),
    "E015": "Our backend is in ``TASKS``, but ``taskq_django`` is not in ``INSTALLED_APPS``: it has no tables.",
    "E016": (
        "A schedule that is declared in code is wrong: its arguments do not fit the task, a value is out of range, or "
        "another one has its name."
    ),
    "E017": "A task waits in a queue that ``QUEUES`` of its backend does not have.",
    "E018": "The database of the jobs has ``AUTOCOMMIT = False``: no end of a job would ever be committed.",
    "E019": (
        "The Redis is older than 6.2. A Valkey is new enough. This one, and E020 to E022, W013 and W014, ask the "
        "server: with ``manage.py check --database default``, with ``migrate``, and when a worker starts."
    ),
    "E020": (
        "The ``maxmemory-policy`` of the Redis is one of ``allkeys-…``: when it is full, it would remove jobs. Set "
        "``noeviction``. A worker does not start."
    ),
    "E021": (
        "The Redis refuses the user or the password, or a right is missing. Commands inside of scripts need theirs "
        "too; the message names those that are missing, and all that are needed."
    ),
    "E022": (
        "The jobs under this name in the Redis belong to another database. Each project needs a ``name`` of its own "
        "there. A copy of a database has the id of its original, until ``taskq_new_store_id`` gives it another."
    ),
    "E023": (
        "Two backends have one ``name`` in one Redis. Each would give back what the other runs: they need a name of "
        "their own each."
    ),
    "E024": "``RUN_CONTEXT`` cannot be imported, or is nothing that can be called. A worker does not start.",
    "W001": (
        "A backend keeps its jobs in a database where the ORM, and so the admin, does not look. The jobs run all "
        "the same; ``DatabaseRouter`` lets you see them."
    ),
    "W002": (
        "MariaDB or MySQL with another isolation level than ``read committed``, Django's default: claims and "
        "inserts then lock the gaps between rows and wait for each other."
    ),
    "W011": (
        "An option that changes nothing with this broker: ``name``, ``outbox``, ``celery_compatible`` and "
        "``transport_options`` are for Redis, ``bell`` is for a database."
    ),
    "W012": (
        "``ssl_cert_reqs=none``: the certificate of the server is not checked, so whoever answers in its place reads "
        "every job, and sends others."
    ),
    "W013": (
        "The jobs are in the same database of a Redis as a cache: ``cache.clear()`` would remove them. Give one of "
        "them another number. A cache that is there for ``cache://ALIAS`` alone is left out, unless it is ``default``."
    ),
    "W014": "The Redis cannot be reached. A worker waits for it, and serves what else it has.",
    "W015": (
        "A module of the ``tasks`` package of an app cannot be imported, by the error that is named. Its schedules are "
        "not seen."
    ),
    "W016": "``KEEP_SUCCESSES`` or ``KEEP_FAILURES`` is less than an hour. Both are in seconds, or a timedelta.",
    "W017": (
        "A pattern in ``SCHEDULABLE`` fits the path of no task that is known, so it lets nobody schedule anything. The "
        "nearest path is named."
    ),
    "W018": (
        "``SCHEDULE_PERMISSION``, or ``schedulable`` of a task, names a permission that no model of the installed apps "
        "declares: nobody but superusers has it, unless your code makes it."
    ),
    "W019": "``MAIL_FAILURES`` is set, and ``ADMINS`` is empty: nobody is told.",
    "W010": (
        "SQLite with a WAL but without ``transaction_mode`` ``IMMEDIATE``: a transaction that has read and then writes "
        "fails at once where a worker has written in between, and nobody can spare it."
    ),
}


def reports(tag: str = TAG) -> Callable[[Callable[..., Iterable[Problem]]], Callable[..., list[CheckMessage]]]:
    """Make a system check of a function that finds problems; the id of a warning begins with W."""

    def decorate(find: Callable[..., Iterable[Problem]]) -> Callable[..., list[CheckMessage]]:
        @functools.wraps(find)
        def check(**kwargs: Any) -> list[CheckMessage]:
            return [_message_of(problem) for problem in find(**kwargs)]

        return register(tag)(check)

    return decorate


def _message_of(problem: Problem) -> CheckMessage:
    kind = Advice if problem.id.startswith("W") else Error
    return kind(f"{problem.where} {problem.message}", hint=problem.hint or None, id=f"{TAG}.{problem.id}")

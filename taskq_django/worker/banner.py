"""What a worker says when it starts: every value is the one in force."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

import django
from django.conf import settings
from django.db import connections

from .. import __version__
from ..brokers import Broker
from ..registry import registry
from . import readiness
from .options import WorkerOptions

WAL_OPTIONS = '{"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}'


def banner(options: WorkerOptions, brokers: Mapping[str, Broker], here: Mapping[str, Broker]) -> str:
    """``here``: those brokers that answer; about the others nothing more can be said."""
    tasks = registry.all()
    apps = {task.module_path.partition(".")[0] for task in tasks}
    queues = ", ".join(sorted(options.queues)) or "all"
    if options.exclude_queues:
        queues += f" but {', '.join(sorted(options.exclude_queues))}"
    pool = f"{options.threads} threads, {options.coroutines} coroutines"
    if options.processes:
        pool = f"{options.processes} process{'es' if options.processes > 1 else ''} × ({pool})"
    debug = " (DEBUG=True)" if settings.DEBUG else ""
    versions = f"Django {django.get_version()}, Python {platform.python_version()}"
    rows = [
        ("settings", f"{os.environ.get('DJANGO_SETTINGS_MODULE', 'configured in code')}{debug}"),
        *[("broker", f"{alias} -> {_described(broker, alias in here)}") for alias, broker in brokers.items()],
        ("queues", queues),
        ("pool", f"{pool}, grace {options.grace:g} s"),
        *([("beat", "in this worker")] if options.beat else []),
        ("tasks", f"{len(tasks)} in {len(apps)} package{'s' if len(apps) != 1 else ''}"),
        *_advice(here),
        *readiness.advice(options, here),
    ]
    return "\n".join(
        [
            f"taskq worker {__version__}  {options.name}    {versions}",
            *[f"  {name:<12} {value}" for name, value in rows],
            "Ready. Quit the worker with CONTROL-C (twice: stop now).",
        ]
    )


def _described(broker: Broker, answers: bool) -> str:
    if not answers:
        return f'database ("{broker.database}"), which does not answer'
    return f'database ({connections[broker.database].display_name}, "{broker.database}")'


def _advice(brokers: Mapping[str, Broker]) -> list[tuple[str, str]]:
    rows = []
    for alias in sorted({broker.database for broker in brokers.values()}):
        connection = connections[alias]
        if connection.vendor == "sqlite" and not connection.is_in_memory_db():  # type: ignore[attr-defined]
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode")
                mode = cursor.fetchone()[0]
            waits = connection.transaction_mode in {"IMMEDIATE", "EXCLUSIVE"}  # type: ignore[attr-defined]
            if mode != "wal" or not waits:
                rows.append(("advice", f'{_why(mode, waits)}: DATABASES["{alias}"]["OPTIONS"] = {WAL_OPTIONS}'))
    return rows


def _why(journal_mode: str, waits: bool) -> str:
    if waits:
        return "faster on SQLite"
    if journal_mode == "wal":
        return "needed on this SQLite, or the project's transactions fail beside tasks and workers (database is locked)"
    return "needed on SQLite as soon as tasks write much: until then nobody can read while one writes"

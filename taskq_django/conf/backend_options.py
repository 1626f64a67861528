"""``OPTIONS`` of an alias in ``TASKS``, which tunes one backend: each declared once, as those of ``TASKQ`` are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .declaration import Problem, option, read_section
from .engines import engine_advice, engine_problems, name_problem
from .sections import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """``OPTIONS`` of an alias in ``TASKS``; lower-case keys."""

    broker: str = option(
        "database://",
        secret=True,
        minimum=1,
        maximum=2000,
        doc="Where jobs wait: ``database://[alias]``, ``redis://host:port/0``, ``rediss://``, "
        "``redis+socket:///path``, ``sentinel://host:port;sentinel://host:port``, ``cache://ALIAS``.",
    )
    name: str | None = option(
        None, check=name_problem, doc="What its keys in Redis begin with, one for each project; None: the alias."
    )
    bell: str | None = option(
        None,
        secret=True,
        minimum=1,
        maximum=2000,
        doc="URL of a Redis that wakes workers which sleep, where jobs wait in a database that cannot.",
    )
    outbox: bool = option(
        False,
        doc="Where jobs wait in Redis: what is enqueued in a transaction of the store is a row of it until Redis has "
        "it, so that nothing between the commit and Redis can lose it.",
    )
    celery_compatible: bool = option(
        False, doc="Write and read Redis as Celery does, so that its clients and workers can be on the other end."
    )
    transport_options: Mapping[str, Any] = option(
        {}, secret=True, doc="Options of kombu's transport, as ``master_name`` for sentinels."
    )
    max_payload: int = option(
        1024 * 1024, minimum=1024, maximum=64 * 1024 * 1024, unit="bytes", doc="Limit of one job's arguments."
    )


def read_options(alias: str, given: Mapping[str, Any]) -> BackendOptions:
    """The options of a backend. Raises ConfigurationError, with every mistake in it."""
    values, found = _read_options(alias, given)
    refuse(found)
    return BackendOptions(**values)


def option_problems(alias: str, given: object) -> list[Problem]:
    """Every mistake in ``TASKS[alias]["OPTIONS"]``."""
    return _read_options(alias, given)[1]


def option_advice(alias: str, given: Mapping[str, Any]) -> list[Problem]:
    """What should be mended in options that are right."""
    return list(engine_advice(read_options(alias, given), _where(alias)))


def _read_options(alias: str, given: object) -> tuple[dict[str, Any], list[Problem]]:
    values, found = read_section(BackendOptions, given, _where(alias), str.lower)
    return values, [*found, *engine_problems(alias, BackendOptions(**values), _where(alias))]


def _where(alias: str) -> str:
    return f'TASKS["{alias}"]["OPTIONS"]'

"""Checks of the engines in which jobs wait beside the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import Tags

from ..conf import BackendOptions, option_advice
from ..conf.broker_url import parse_broker
from ..conf.declaration import Problem, unknown_key
from .databases import databases_of_backends
from .messages import reports


@reports()
def check_options(**kwargs: Any) -> Iterator[Problem]:
    """What is idle or a risk in options that are right, and what kombu does not know. Does not connect."""
    for alias, _, backend in _backends():
        yield from option_advice(alias, backend.options)
        yield from _unknown_to_kombu(alias, backend.taskq_options)


@reports()
def check_names(**kwargs: Any) -> Iterator[Problem]:
    """A name in a Redis is of one backend: with two, what a process runs for the one is lost to the other."""
    first: dict[tuple[str, str], str] = {}
    for alias, _, backend in _backends():
        options = backend.taskq_options
        other = first.setdefault((options.broker, options.name or alias), alias)
        if other != alias and parse_broker(options.broker).transport:
            message = f'is that of TASKS["{other}"] in the same Redis: each would give back what the other runs.'
            yield Problem(f'TASKS["{alias}"]["OPTIONS"]["name"]', message, "Give each a name of its own.", "E023")


@reports(Tags.database)
def check_engines(databases: Sequence[str] | None = None, **kwargs: Any) -> Iterator[Problem]:
    """The servers; connects, so only where Django asks for it, as it asks for databases."""
    for alias, database, backend in _backends():
        if database in (databases or ()) and parse_broker(backend.taskq_options.broker).transport:
            from ..brokers.kombu.advice import backend_problems

            yield from backend_problems(alias, backend.taskq_options, database)


def _unknown_to_kombu(alias: str, options: BackendOptions) -> Iterator[Problem]:
    """kombu passes over what it does not know."""
    if options.transport_options and (options.bell or parse_broker(options.broker).transport):
        from ..brokers.kombu.channels import known_options

        where, known = f'TASKS["{alias}"]["OPTIONS"]["transport_options"]', known_options()
        for name in options.transport_options:
            if name not in known:
                yield unknown_key(where, name, known, str.lower)


def _backends() -> Iterator[tuple[str, str, Any]]:
    """The alias of each backend of ours whose options are right, its database, and itself."""
    from ..compat import task_backends

    for alias, database in databases_of_backends().items():
        yield alias, database, task_backends[alias]

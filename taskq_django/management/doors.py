"""What the commands that act on jobs and queues share."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.management.base import CommandError, CommandParser

from ..backend import brokers_of, our_backends
from ..brokers import Broker
from ..exceptions import ConfigurationError


def add_backend(parser: CommandParser) -> None:
    parser.add_argument(
        "--backend", action="append", help="Alias in TASKS; may be given more than once. Default: all of ours."
    )


def chosen_brokers(aliases: Iterable[str] | None) -> list[Broker]:
    """The brokers of these aliases, or of all of ours. Raises CommandError."""
    try:
        return list(brokers_of(tuple(aliases or our_backends())).values())
    except ConfigurationError as error:
        raise CommandError(str(error)) from error

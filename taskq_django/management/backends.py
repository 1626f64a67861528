"""What the commands that act on jobs and queues share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ..backend import brokers_of, our_backends
from ..brokers import Broker
from ..exceptions import BrokerError, ConfigurationError
from ..status import why_unanswered
from ..store.connections import OUTAGE


class QueueCommand(BaseCommand, ABC):
    """Acts on a queue of each backend, and says what came of it."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", metavar="QUEUE", help="Its name.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        problems = []
        for broker in chosen_brokers(given["backend"]):
            try:
                said = self.act(given["queue"], broker, given)
            except ConfigurationError as error:
                raise CommandError(str(error)) from error
            except (BrokerError, *OUTAGE) as error:
                problems.append(trouble(broker, error))
                continue
            self.stdout.write(f"{broker.alias}/{given['queue']}: {said}")
        if problems:
            raise CommandError("\n".join(problems))

    @abstractmethod
    def act(self, queue: str, broker: Broker, given: dict[str, Any]) -> str:
        """Returns what came of it, for people. Raises ConfigurationError."""


def add_backend(parser: CommandParser) -> None:
    parser.add_argument(
        "--backend", action="append", help="Alias in TASKS; may be given more than once. Default: all of ours."
    )


def add_no_input(parser: CommandParser) -> None:
    """By both names that it has in Django."""
    parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="Do not ask.")


def chosen_brokers(aliases: Iterable[str] | None) -> list[Broker]:
    """The brokers of these aliases, or of all of ours. Raises CommandError."""
    try:
        return list(brokers_of(tuple(aliases or our_backends())).values())
    except ConfigurationError as error:
        raise CommandError(str(error)) from error


def trouble(broker: Broker, error: Exception) -> str:
    """That a backend could not be asked, and why, in one line."""
    return f"{broker.alias}: {why_unanswered(error)}"

"""What the commands that act on jobs and queues share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ..backend import brokers_of, our_backends
from ..brokers import Broker
from ..compat import task_backends
from ..exceptions import BrokerError, ConfigurationError, did_you_mean
from ..models import PausedQueue
from ..registry import registry
from ..status import why_unanswered
from ..store.connections import OUTAGE
from .flags import add_backend

SHOWN = 10  # ids that a message names


@contextmanager
def in_a_line() -> Iterator[None]:
    """Round ``handle``: says why a setting is wrong, or a database or an engine could not be asked. No traceback."""
    try:
        yield
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
    except (BrokerError, *OUTAGE) as error:
        raise CommandError(why_unanswered(error)) from error


class QueueCommand(BaseCommand, ABC):
    """Acts on a queue of each backend, and says what came of it."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", metavar="QUEUE", help="Its name.")
        add_backend(parser)

    @in_a_line()
    def handle(self, *args: Any, **given: Any) -> None:
        queue, problems = given["queue"], []
        brokers = chosen_brokers(given["backend"])
        unknown = doubt(queue, brokers)
        for broker in brokers:
            try:
                said = self.act(queue, broker, given)
            except (BrokerError, *OUTAGE) as error:
                problems.append(trouble(broker, error))
                continue
            self.stdout.write(f"{broker.alias}/{queue}: {said}")
        if unknown:
            self.stderr.write(self.style.WARNING(unknown))
        if problems:
            raise CommandError("\n".join(problems))

    @abstractmethod
    def act(self, queue: str, broker: Broker, given: dict[str, Any]) -> str:
        """Returns what came of it, for people. Raises ConfigurationError."""


def doubt(queue: str, brokers: Iterable[Broker]) -> str:
    """That a queue may be misspelt, and which may be meant; "" where a task, QUEUES, a pause or a job has its name."""
    brokers = list(brokers)
    known = {task.queue_name for task in registry.all()}
    for broker in brokers:
        known |= task_backends[broker.alias].queues
        with suppress(*OUTAGE):  # what is asked next says so
            known.update(PausedQueue.objects.using(broker.database).values_list("queue_name", flat=True))
    if queue in known:
        return ""
    try:
        known.update(depth.queue_name for broker in brokers for depth in broker.depth())
    except (BrokerError, *OUTAGE):
        return ""  # jobs may be waiting there
    if queue in known:
        return ""
    return f'No task and no job is in a queue "{queue}". {did_you_mean(queue, known)}'.rstrip()


def several(ids: Collection[str]) -> str:
    """The first of them, for people."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(sorted(ids)[:SHOWN]) + more


def chosen_brokers(aliases: Iterable[str] | None) -> list[Broker]:
    """The brokers of these aliases, or of all of ours. Raises CommandError."""
    try:
        return list(brokers_of(tuple(aliases or our_backends())).values())
    except ConfigurationError as error:
        raise CommandError(str(error)) from error


def trouble(broker: Broker, error: Exception) -> str:
    """That a backend could not be asked, and why, in one line."""
    return f"{broker.alias}: {why_unanswered(error)}"

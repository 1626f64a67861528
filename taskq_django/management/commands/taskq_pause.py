"""``manage.py taskq_pause QUEUE``"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import control
from ...brokers import Broker
from ...exceptions import ConfigurationError
from ..backends import add_backend, chosen_brokers


class QueueCommand(BaseCommand):
    """Does something to one queue of each backend, and says whether that changed anything."""

    act: Callable[[str, Broker], bool]
    changed: str
    unchanged: str

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", metavar="QUEUE", help="Its name.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        for broker in chosen_brokers(given["backend"]):
            try:
                said = self.changed if self.act(given["queue"], broker) else self.unchanged
            except ConfigurationError as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{broker.alias}/{given['queue']}: {said}")


class Command(QueueCommand):
    help = "Let the jobs of a queue wait; what runs goes on."
    act = staticmethod(control.pause)
    changed, unchanged = "paused", "was paused already"

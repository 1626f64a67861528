"""``manage.py taskq_pause QUEUE``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import control
from ...exceptions import ConfigurationError
from ..backends import add_backend, chosen_brokers


class Command(BaseCommand):
    help = "Let the jobs of a queue wait; what runs goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", metavar="QUEUE", help="Its name.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        for broker in chosen_brokers(given["backend"]):
            try:
                changed = control.pause(given["queue"], broker)
            except ConfigurationError as error:
                raise CommandError(str(error)) from error
            said = "paused" if changed else "was paused already"
            self.stdout.write(f"{broker.alias}/{given['queue']}: {said}")

"""``manage.py taskq_resume QUEUE``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import control
from ...exceptions import ConfigurationError
from ..backends import add_backend, chosen_brokers


class Command(BaseCommand):
    help = "Let workers claim from a paused queue again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", metavar="QUEUE", help="Its name.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        for broker in chosen_brokers(given["backend"]):
            try:
                changed = control.resume(given["queue"], broker)
            except ConfigurationError as error:
                raise CommandError(str(error)) from error
            said = "resumed" if changed else "was not paused"
            self.stdout.write(f"{broker.alias}/{given['queue']}: {said}")

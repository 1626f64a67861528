"""``manage.py taskq_purge QUEUE``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import control
from ...exceptions import ConfigurationError
from ..backends import add_backend, chosen_brokers


class Command(BaseCommand):
    help = "Remove the jobs of a queue that have not begun, without a trace."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", metavar="QUEUE", help="Its name.")
        parser.add_argument("--no-input", action="store_false", dest="interactive", help="Do not ask.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        for broker in chosen_brokers(given["backend"]):
            try:
                waiting = control.waiting_in(given["queue"], broker).count()
            except ConfigurationError as error:
                raise CommandError(str(error)) from error
            where = f"{broker.alias}/{given['queue']}"
            if waiting and given["interactive"]:
                answer = input(f"Remove {waiting} jobs from {where} for ever? Type yes: ")
                if answer != "yes":
                    raise CommandError("Nothing was removed.")
            self.stdout.write(f"{where}: {control.purge(given['queue'], broker)} jobs removed")

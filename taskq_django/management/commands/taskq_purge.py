"""``manage.py taskq_purge QUEUE``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import control
from ...brokers import Broker
from ...exceptions import counted
from ..backends import QueueCommand
from ..flags import add_no_input


class Command(QueueCommand):
    help = "Remove the jobs of a queue that have not begun, without a trace."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_no_input(parser)

    def act(self, queue: str, broker: Broker, given: dict[str, Any]) -> str:
        if given["interactive"] and (waiting := control.count_waiting(queue, broker)):
            answer = input(f"Remove {counted(waiting, 'job')} from {broker.alias}/{queue} for ever? Type yes: ")
            if answer != "yes":
                raise CommandError("Nothing was removed.")
        return f"{counted(control.purge(queue, broker), 'job')} removed"

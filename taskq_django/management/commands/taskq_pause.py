"""``manage.py taskq_pause QUEUE``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ... import control
from ...brokers import Broker
from ..backends import QueueCommand
from ..flags import number


class Command(QueueCommand):
    help = "Let the jobs of a queue wait; what runs goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--for",
            dest="seconds",
            type=number(float, 1, 10**9),
            metavar="SECONDS",
            help="Then it goes on by itself. Default: when somebody resumes it.",
        )
        parser.add_argument("--reason", default="", metavar="TEXT", help="For people: shown beside the queue.")

    def act(self, queue: str, broker: Broker, given: dict[str, Any]) -> str:
        made = control.pause(queue, broker, reason=given["reason"], seconds=given["seconds"])
        return "paused" if made else "was paused already; its reason and its end are these now"

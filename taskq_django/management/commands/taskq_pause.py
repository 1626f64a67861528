"""``manage.py taskq_pause QUEUE``"""

from __future__ import annotations

from typing import Any

from ... import control
from ...brokers import Broker
from ..backends import QueueCommand


class Command(QueueCommand):
    help = "Let the jobs of a queue wait; what runs goes on."

    def act(self, queue: str, broker: Broker, given: dict[str, Any]) -> str:
        return "paused" if control.pause(queue, broker) else "was paused already"

"""``manage.py taskq_resume QUEUE``"""

from __future__ import annotations

from typing import Any

from ... import control
from ...brokers import Broker
from ..backends import QueueCommand


class Command(QueueCommand):
    help = "Let workers claim from a paused queue again."

    def act(self, queue: str, broker: Broker, given: dict[str, Any]) -> str:
        return "resumed" if control.resume(queue, broker) else "was not paused"

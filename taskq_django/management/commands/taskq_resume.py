"""``manage.py taskq_resume QUEUE``"""

from __future__ import annotations

from ... import control
from .taskq_pause import QueueCommand


class Command(QueueCommand):
    help = "Let workers claim from a paused queue again."
    act = staticmethod(control.resume)
    changed, unchanged = "resumed", "was not paused"

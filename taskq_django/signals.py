"""Middleware hooks. The sender is always the task's function.

Starred ones are sent with ``send()``: a receiver may change ``job`` headers through ``headers`` (a dict) or veto
with ``raise Discard(reason)``. The rest use ``send_robust()``: a broken receiver is logged and can lose nothing.
Receivers may be sync or async. They are sent by the client, the executor, the process and the finisher, never
by a broker.

| signal          | sent by  | arguments                                   |
|-----------------|----------|---------------------------------------------|
| before_enqueue* | client   | job, headers                                |
| after_enqueue   | client   | job                                         |
| enqueue_failed  | client   | job, exception                              |
| before_run*     | executor | claim                                       |
| after_run       | executor | claim, outcome; always, in reverse order    |
| run_failed      | executor | claim, outcome, exception                   |
| run_retried     | executor | claim, outcome, exception                   |
| result_recorded | finisher | outcome; once the store has it              |
| worker_started  | process  | worker_id; sender is None                   |
| worker_stopping | process  | worker_id; sender is None                   |
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

logger = logging.getLogger(__name__)


class Hook(Signal):
    """A Signal whose broken receivers are logged by us, and which can be sent last receiver first."""

    def announce(self, sender: Any, *, backwards: bool = False, **named: Any) -> None:
        """Tell every receiver; what one raises is logged and changes nothing."""
        if not self.receivers:
            return
        responses = _robust_backwards(self, sender, named) if backwards else self.send_robust(sender, **named)
        for receiver, response in responses:
            if isinstance(response, Exception):
                logger.error("Receiver %r of a taskq_django signal failed", receiver, exc_info=response)


def _robust_backwards(signal: Signal, sender: Any, named: dict[str, Any]) -> list[tuple[Any, Any]]:
    """``send_robust`` with the receivers in reverse, so that hooks nest: first in, last out."""
    mirrored = Signal()
    mirrored.receivers = list(reversed(signal.receivers))
    return mirrored.send_robust(sender, **named)


before_enqueue = Hook()
after_enqueue = Hook()
enqueue_failed = Hook()
before_run = Hook()
after_run = Hook()
run_failed = Hook()
run_retried = Hook()
result_recorded = Hook()
worker_started = Hook()
worker_stopping = Hook()

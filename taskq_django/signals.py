"""Middleware hooks. The sender is the task's function, or None: for ``worker_…``, and where nobody knows the task.

``before_enqueue`` and ``before_run`` are sent with ``send()``: a receiver may veto with ``raise Discard(reason)``, and
one of ``before_enqueue`` may change the job's ``headers`` (a dict). Of the rest a broken receiver is logged, and can
lose nothing. Receivers may be sync or async. They are sent by the client, the executor, the process,
the finisher and the beat, never by a broker. The reference in the documentation is made from the declarations below.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

logger = logging.getLogger(__name__)


class Hook(Signal):
    """A Signal whose broken receivers are logged by us, and which can be sent last receiver first."""

    def __init__(self, arguments: str, doc: str, *, by_client: bool = False) -> None:
        """``arguments``: what a receiver gets by name, beside ``sender``. ``by_client``: sent by who enqueues."""
        super().__init__()
        self.arguments = arguments
        self.doc = doc
        # SystemExit and the like would end a thread of ours in a worker; in the code that enqueues they may be meant.
        self._contained = Exception if by_client else BaseException

    def announce(self, sender: Any, *, backwards: bool = False, **named: Any) -> None:
        """Tell every receiver; what one raises is logged and changes nothing."""
        if not self.receivers:
            return
        __traceback_hide__ = True  # from error reports, because the job's arguments are in ``named``
        receivers, coroutines = self._live_receivers(sender)  # as ``send`` asks
        if coroutines:
            self._announce_in_turn(sender, backwards, named)
            return
        for receiver in reversed(receivers) if backwards else receivers:
            try:
                receiver(signal=self, sender=sender, **named)
            except self._contained as error:
                _log(receiver, error)

    def _announce_in_turn(self, sender: Any, backwards: bool, named: dict[str, Any]) -> None:
        """The same where some are coroutines: ``send_robust`` alone would call these last."""
        __traceback_hide__ = True
        for one in reversed(self.receivers) if backwards else list(self.receivers):
            alone = Signal()
            alone.receivers = [one]
            try:
                responses = alone.send_robust(sender, **named)
            except self._contained as error:
                responses = [(one[1], error)]
            for receiver, response in responses:
                if isinstance(response, BaseException):
                    _log(receiver, response)


def _log(receiver: object, error: BaseException) -> None:
    logger.error("Receiver %r of a taskq_django signal failed", receiver, exc_info=error)


before_enqueue = Hook(
    "job, headers",
    "``headers`` is a dict; what a receiver adds travels with the job as JSON. The keys ``metadata``, ``sensitive`` and"
    " ``schedule`` are ours.",
)
after_enqueue = Hook("job", "The broker has the job; the transaction may still roll back.", by_client=True)
enqueue_failed = Hook("job, exception", "It was not sent.", by_client=True)
before_run = Hook("claim", "In the thread that runs the job.")
after_run = Hook(
    "claim, outcome",
    "Always, whatever came of it; the receivers in reverse order. The outcome is not stored yet.",
)
run_failed = Hook("claim, outcome, exception", "The job has ended as FAILED.")
run_retried = Hook("claim, outcome, exception", "It will be tried again.")
result_recorded = Hook(
    "outcome",
    "The store has the outcome: the end of a job, or a try that failed. Sent on the worker's loop thread, so be quick.",
)
worker_started = Hook("worker_id", "In each worker process, before its first claim.")
worker_stopping = Hook("worker_id", "In each worker process, when its loop has ended.")
schedule_fired = Hook("schedule, slot, job", "The job of a slot was enqueued, and that is committed.")

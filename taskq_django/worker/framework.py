"""Tells the receivers of django.tasks' own signals what becomes of a job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from django.dispatch import Signal

from .. import codec, compat
from ..compat import TaskResultStatus
from ..jobs import Failure
from ..models.moments import as_orm_has
from ..results import StoredError
from ..states import State
from .run import Run

logger = logging.getLogger(__name__)


def _harmless(tell: Callable[..., None]) -> Callable[..., None]:
    """To nobody's harm: the job has its outcome, and what a receiver raises would end a thread of ours."""

    @wraps(tell)
    def guarded(*args: Any) -> None:
        try:
            tell(*args)
        except BaseException:
            logger.exception("A signal of django.tasks could not be sent")

    return guarded


class FrameworkSignals:
    """Asks once who listens: a TaskResult and a signal cost more than all else that a job needs."""

    def __init__(self) -> None:
        self.hears = compat.is_heard(compat.task_started, logging.INFO) or compat.is_heard(
            compat.task_finished, logging.INFO
        )
        # It logs failures at a level of their own: Django's default handler for ERROR mails them to the ADMINS.
        self.hears_failures = self.hears or compat.is_heard(compat.task_finished, logging.ERROR)

    @_harmless
    def started(self, run: Run) -> None:
        self._send(compat.task_started, run)

    @_harmless
    def succeeded(self, run: Run, value: str | None) -> None:
        """``value``: the codec's text of what it returned."""
        _finish(run, TaskResultStatus.SUCCESSFUL)
        if value is not None:
            object.__setattr__(run.result, "_return_value", codec.decode_value(value))
        self._send(compat.task_finished, run)

    @_harmless
    def failed(self, run: Run, failure: Failure) -> None:
        """While the exception is being handled: receivers read sys.exc_info()."""
        _finish(run, TaskResultStatus.FAILED)
        object.__setattr__(run.result, "reason", failure.message)
        run.result.errors.append(StoredError(exception_class_path=failure.exception_class, traceback=failure.traceback))
        self._send(compat.task_finished, run)

    def _send(self, signal: Signal, run: Run) -> None:
        compat.announce(signal, type(run.known_task.get_backend()), run.result)


def _finish(run: Run, status: TaskResultStatus) -> None:
    object.__setattr__(run.result, "status", status)
    object.__setattr__(run.result, "state", State(status.value))
    object.__setattr__(run.result, "finished_at", as_orm_has(datetime.now(UTC)))

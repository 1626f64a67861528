"""Runs one claim and says what came of it: resolve, before, call, decide, after.

``run`` and ``arun`` never raise and never see the broker. Any thread of the pool may call them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from inspect import iscoroutinefunction
from time import monotonic
from typing import Any

from asgiref.sync import sync_to_async

from .. import codec, signals
from ..backoff import Backoff, in_seconds
from ..exceptions import ArgumentError, Discard, PayloadError, Retry, TaskNotFound, TaskTimeout, WorkerLost, as_text
from ..jobs import Claim, Discarded, Failed, Outcome, Released, Retried, Succeeded
from ..registry import registry
from ..results import TaskContext
from ..states import State
from ..task_options import MOST_ATTEMPTS
from ..tasks import Task
from .failures import LONGEST_MESSAGE, failure_of, storable
from .framework import FrameworkSignals
from .progress import ProgressNotes
from .run import Run
from .run_context import RunContext, acall_within, call_within
from .seats import Interrupted, Reason, Seat

logger = logging.getLogger(__name__)


WHY_UNRUN = {State.EXPIRED: "it had not started in time", State.CANCELLED: "cancelled before it was run"}


class Unrun(Exception):
    """The broker has a verdict on this job: it ends without being run."""


class Unbegun(Exception):
    """The store does not know that this job begins now, so that it must not begin: it goes back."""


def runs_once(task: Task[..., Any] | None) -> bool:
    """Must a job of it never begin again once it has begun?"""
    return task is not None and not task.rerun_on_crash


# Remembered, because inspect looks through partials, methods and wrappers, and a worker asks at every claim.
_is_coroutine = lru_cache(maxsize=4096)(iscoroutinefunction)


class Executor:
    """Runs the claims of one worker process. Any number of threads may call it at once."""

    def __init__(
        self,
        worker_id: str,
        max_payload: Mapping[str, int],
        note_begun: Callable[[Claim], bool] = lambda claim: True,
        around: RunContext | None = None,
    ) -> None:
        """``max_payload``: by alias, the limit of a return value in bytes.

        ``note_begun``: tells the store that a job begins which must never begin twice; says whether it may.
        ``around``: makes what the project wants round each run.
        """
        self._worker_id = worker_id
        self._max_payload = max_payload
        self._note_begun = note_begun
        self._around = around
        self._framework = FrameworkSignals()
        self.progress = ProgressNotes()  # what the tasks say while they run

    def run(self, claim: Claim, seat: Seat) -> Outcome | None:
        """None: it has not begun, for it is a coroutine, as is known now that its module is imported."""
        run, __traceback_hide__ = Run(claim, self._worker_id), True  # from error reports: the arguments are here
        try:
            if _is_coroutine(self._find_task(run).func):
                return None
            function, args, kwargs = self._prepare(run, seat)
            try:
                seat.arm(run.timeout)
                if self._around is None:
                    value = function(*args, **kwargs)
                else:
                    value = call_within(self._around, claim, function, args, kwargs)
            finally:
                seat.disarm()
            return self._succeeded(run, value)
        except BaseException as error:  # whatever a task raises ends its job, not the worker
            return self._broken(run, error, seat.reason)

    async def arun(self, claim: Claim, seat: Seat) -> Outcome:
        run, __traceback_hide__ = Run(claim, self._worker_id), True
        # Receivers, the look at earlier attempts and a note to the store use the ORM, which refuses to work on an event
        # loop.
        hears = self._framework.hears or bool(signals.before_run.receivers or signals.after_run.receivers)
        try:
            self._find_task(run)
            if hears or claim.attempt > 1 or runs_once(run.task):
                function, args, kwargs = await sync_to_async(self._prepare)(run, seat)
            else:
                function, args, kwargs = self._prepare(run, seat)
            try:
                seat.arm(run.timeout)
                if self._around is None:
                    value = await function(*args, **kwargs)
                else:
                    value = await acall_within(self._around, claim, function, args, kwargs)
            finally:
                seat.disarm()
            return await sync_to_async(self._succeeded)(run, value) if hears else self._succeeded(run, value)
        except BaseException as error:  # as above; also what cancels the coroutine
            return await sync_to_async(self._broken)(run, error, seat.reason)

    def cut_off(self, claim: Claim, began: float, reason: Reason) -> Outcome:
        """What a run comes to that was interrupted and does not come back; it ends with its process."""
        run = Run(claim, self._worker_id)
        run.started = began
        run.task = registry.get(claim.job.task_path)
        try:
            raise Interrupted
        except Interrupted as error:
            return self._broken(run, error, reason)

    def given_up(self, claim: Claim, began: float) -> Outcome:
        """What a run comes to that may have begun and ends with its process, which was asked to stop."""
        if not runs_once(registry.get(claim.job.task_path)):
            return Released(claim, began=True)
        failure = failure_of(WorkerLost("its worker was stopped before its run was over"))
        return Failed(claim, began, monotonic(), failure)

    def is_async(self, claim: Claim) -> bool:
        """Where to run it, as far as is known: a task whose module is not imported counts as sync."""
        task = registry.get(claim.job.task_path)
        return task is not None and _is_coroutine(task.func)

    def _find_task(self, run: Run) -> Task[..., Any]:
        """Imports its module when it must: in the seat, for that may take long, or end the process, by its fault."""
        if run.claim.verdict:
            raise Unrun
        run.task = registry.find(run.claim.job.task_path)
        return run.task

    def _prepare(self, run: Run, seat: Seat) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
        claim, task = run.claim, run.known_task
        function, __traceback_hide__ = task.func, True
        promised = function if task.native else None  # by Django's rules a text stays a text
        args, kwargs = codec.decode_call(claim.job.payload, promised, takes_context=task.takes_context)
        if not task.rerun_on_crash and not self._note_begun(claim):
            raise Unbegun
        if signals.before_run.receivers:
            signals.before_run.send(function, claim=claim)
        if task.takes_context:
            context = TaskContext(task_result=run.result)
            object.__setattr__(context, "_seat", seat)
            object.__setattr__(context, "_note_progress", partial(self.progress.take, claim))
            args = [context, *args]
        if self._framework.hears:
            self._framework.started(run)
        return run.function, args, kwargs

    def _succeeded(self, run: Run, value: Any) -> Outcome:
        ended = monotonic()
        run.has_returned = True
        task, claim = run.known_task, run.claim
        limit = self._max_payload[claim.job.backend]
        text = codec.encode_value(value, max_bytes=limit, plain=not task.native) if task.store_result else None
        outcome = Succeeded(claim, run.started, ended, text)
        if self._framework.hears:
            self._framework.succeeded(run, text)
        if signals.after_run.receivers:
            signals.after_run.announce(task.func, backwards=True, claim=claim, outcome=outcome)
        return outcome

    def _broken(self, run: Run, error: BaseException, reason: Reason | None) -> Outcome:
        """What a run that raised comes to. Never raises: an exception here would cost the pool a thread.

        ``reason``: why it was interrupted, if it was.
        """
        if isinstance(error, Unbegun):
            return Released(run.claim, began=False)
        try:
            if reason == "cancel":
                error = Discard("cancelled while it ran")
            elif reason and isinstance(error, Interrupted | asyncio.CancelledError):
                error = TaskTimeout(f"ran longer than its timeout of {run.timeout:g} s").with_traceback(
                    error.__traceback__
                )
            return self._ended_by(run, error)
        except BaseException as second:  # the store was away while earlier attempts were read, say
            logger.exception("Job %s failed, and so did what follows a failure", run.claim.job.id)
            second.__context__ = error
            return Failed(run.claim, run.started, monotonic(), failure_of(second))

    def _ended_by(self, run: Run, error: BaseException) -> Outcome:
        """Called while ``error`` is being handled: receivers of task_finished read sys.exc_info()."""
        if isinstance(error, Unrun) and run.claim.verdict == State.FAILED:
            error = PayloadError(run.claim.reason)
        outcome = self._decide(run, error, monotonic())
        sender = run.task.func if run.task else None
        if isinstance(outcome, Failed):
            if self._framework.hears_failures and run.task is not None:
                self._framework.failed(run, outcome.failure)
            signals.run_failed.announce(sender, claim=run.claim, outcome=outcome, exception=error)
        elif isinstance(outcome, Retried):
            signals.run_retried.announce(sender, claim=run.claim, outcome=outcome, exception=error)
        signals.after_run.announce(sender, backwards=True, claim=run.claim, outcome=outcome)
        return outcome

    def _decide(self, run: Run, error: BaseException, ended: float) -> Outcome:
        claim, task = run.claim, run.task
        if isinstance(error, Unrun):
            state = State(claim.verdict)
            return Discarded(claim, run.started, ended, state, claim.reason or WHY_UNRUN[state], began=False)
        if isinstance(error, Discard):
            return Discarded(
                claim, run.started, ended, State.CANCELLED, storable(as_text(error.reason), LONGEST_MESSAGE)
            )
        failure = failure_of(error)
        delay = None
        if (
            task is not None
            and task.native
            and not run.has_returned
            and not isinstance(error, (TaskNotFound, PayloadError, ArgumentError))
        ):
            delay = self._retry_delay(run, task, error)
        if delay is None:
            return Failed(claim, run.started, ended, failure)
        return Retried(claim, run.started, ended, failure, delay)

    def _retry_delay(self, run: Run, task: Task[..., Any], error: BaseException) -> float | None:
        """Seconds until the next try, or None for no further one."""
        tries = run.claim.job.tries + 1
        asked = isinstance(error, Retry)
        # A task that raises Retry and sets no limit wants to run again; MOST_ATTEMPTS keeps it from doing so for ever.
        allowed = MOST_ATTEMPTS if asked and task.max_attempts is None else task.attempts_allowed
        if tries >= allowed:
            return None
        if asked and error.delay is not None:  # type: ignore[attr-defined]
            return error.delay  # type: ignore[attr-defined,no-any-return]
        if not asked and (isinstance(error, task.give_up_on) or not isinstance(error, task.retry_on)):
            return None
        backoff = task.backoff or Backoff()
        if isinstance(backoff, Backoff):
            return backoff.seconds(tries)
        try:
            delay = backoff(error, run.result)
            return None if delay is None else in_seconds(delay)
        except Exception:
            logger.exception("The backoff of %s failed; using the default", task.module_path)
            return Backoff().seconds(tries)

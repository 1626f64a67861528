"""Runs one claim and says what came of it: resolve, before, call, decide, after.

``run`` and ``arun`` never raise and never see the broker. Any thread of the pool may call them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from inspect import iscoroutinefunction
from time import monotonic
from typing import Any

from asgiref.sync import sync_to_async

from .. import codec, compat, signals
from ..backoff import Backoff, in_seconds
from ..compat import TaskError, TaskResultStatus
from ..exceptions import ArgumentError, Discard, PayloadError, Retry, TaskNotFound, TaskTimeout
from ..handles import as_orm_gives, read_results, running_result
from ..jobs import Claim, Discarded, Failed, Outcome, Retried, Succeeded
from ..registry import registry
from ..results import Result, TaskContext
from ..states import State
from ..tasks import MOST_ATTEMPTS, Task
from .failures import LONGEST_MESSAGE, failure_of, storable
from .slots import Interrupted, Reason, Slot

logger = logging.getLogger(__name__)


WHY_UNRUN = {State.EXPIRED: "it had not started in time", State.CANCELLED: "cancelled before it was run again"}


class Unrun(Exception):
    """The store has a verdict on this job: it ends without being run."""


class Run:
    """What one run gathers on its way; belongs to the thread that runs it."""

    __slots__ = ("claim", "result", "started", "task")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.started = monotonic()
        self.task: compat.AnyTask | None = None
        self.result: Result[Any] | None = None  # made only for who asks: a context, or django.tasks' signals

    @property
    def timeout(self) -> float | None:
        """Seconds, of this task's runs; only a Task of our own can have one."""
        return getattr(self.task, "timeout", None)

    @property
    def known_task(self) -> compat.AnyTask:
        if self.task is None:
            raise AssertionError("asked for only once the task has been found")
        return self.task


# inspect looks through partials, methods and wrappers, and a worker asks this of every claim.
_is_coroutine = lru_cache(maxsize=4096)(iscoroutinefunction)


class Executor:
    def __init__(self, worker_id: str, max_payload: Mapping[str, int]) -> None:
        """``max_payload``: by alias, the limit of a return value in bytes."""
        self._worker_id = worker_id
        self._max_payload = max_payload
        self._framework_hears = compat.is_heard(compat.task_started, logging.INFO) or compat.is_heard(
            compat.task_finished, logging.INFO
        )
        # It logs failures at a level of their own: Django's default handler for ERROR mails them to the ADMINS.
        self._framework_hears_failures = self._framework_hears or compat.is_heard(compat.task_finished, logging.ERROR)

    def run(self, claim: Claim, slot: Slot) -> Outcome:
        run = Run(claim)
        try:
            function, args, kwargs = self._prepare(run, slot)
            try:
                slot.arm(run.timeout)
                value = function(*args, **kwargs)
            finally:
                slot.disarm()
            return self._succeeded(run, value)
        except BaseException as error:  # whatever a task raises ends its job, not the worker
            return self._broken(run, error, slot.reason)

    async def arun(self, claim: Claim, slot: Slot) -> Outcome:
        run = Run(claim)
        # Receivers, and the look at earlier attempts, may use the ORM, which refuses to work on an event loop.
        hears = self._framework_hears or bool(signals.before_run.receivers or signals.after_run.receivers)
        try:
            if hears or claim.attempt > 1:
                function, args, kwargs = await sync_to_async(self._prepare)(run, slot)
            else:
                function, args, kwargs = self._prepare(run, slot)
            try:
                slot.arm(run.timeout)
                value = await function(*args, **kwargs)
            finally:
                slot.disarm()
            return await sync_to_async(self._succeeded)(run, value) if hears else self._succeeded(run, value)
        except BaseException as error:  # as above; also what cancels the coroutine
            return await sync_to_async(self._broken)(run, error, slot.reason)

    def cut_off(self, claim: Claim, began: float, reason: Reason) -> Outcome:
        """What a run comes to that was interrupted and does not come back; it ends with its process."""
        run = Run(claim)
        run.started = began
        run.task = registry.get(claim.job.task_path)
        try:
            raise Interrupted
        except Interrupted as error:
            return self._broken(run, error, reason)

    def is_async(self, claim: Claim) -> bool:
        """Where to run it. Imports the task's module when it must; an unknown task is sync, and fails in ``run``."""
        try:
            return _is_coroutine(registry.find(claim.job.task_path).func)
        except TaskNotFound:
            return False

    def _prepare(self, run: Run, slot: Slot) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
        claim = run.claim
        if claim.verdict:
            raise Unrun
        task = run.task = registry.find(claim.job.task_path)
        function = task.func
        args, kwargs = codec.decode_call(claim.job.payload, function, takes_context=task.takes_context)
        if signals.before_run.receivers:
            signals.before_run.send(function, claim=claim)
        if task.takes_context:
            context = TaskContext(task_result=self._result(run))
            object.__setattr__(context, "_slot", slot)
            args = [context, *args]
        if self._framework_hears:
            compat.announce(compat.task_started, type(task.get_backend()), self._result(run))
        return function, args, kwargs

    def _succeeded(self, run: Run, value: Any) -> Outcome:
        ended = monotonic()
        task, claim = run.task, run.claim
        limit = self._max_payload[claim.job.backend]
        text: str | None
        if getattr(task, "native", False):
            text = codec.encode_value(value, max_bytes=limit) if task.store_result else None  # type: ignore[union-attr]
        else:
            text = codec.encode_plain_value(value, max_bytes=limit)
        outcome = Succeeded(claim, run.started, ended, text)
        if self._framework_hears:
            self._finish_framework_result(run, TaskResultStatus.SUCCESSFUL)
            if text is not None:
                object.__setattr__(run.result, "_return_value", codec.decode_value(text))
            self._announce_end(run)
        if signals.after_run.receivers:
            signals.after_run.announce(task.func, backwards=True, claim=claim, outcome=outcome)  # type: ignore[union-attr]
        return outcome

    def _broken(self, run: Run, error: BaseException, reason: Reason | None) -> Outcome:
        """What a run that raised comes to. Never raises: an exception here would cost the pool a thread.

        ``reason``: why it was interrupted, if it was.
        """
        try:
            if reason == "cancel":
                error = Discard("cancelled while it ran")
            elif reason and isinstance(error, Interrupted | asyncio.CancelledError):
                error = TaskTimeout(f"ran longer than its timeout of {run.timeout:g} s").with_traceback(
                    error.__traceback__
                )
            return self._ended_by(run, error)
        except Exception as second:  # the store was away while earlier attempts were read, say
            logger.exception("Job %s failed, and so did what follows a failure", run.claim.job.id)
            second.__context__ = error
            return Failed(run.claim, run.started, monotonic(), failure_of(second))

    def _ended_by(self, run: Run, error: BaseException) -> Outcome:
        """Called while ``error`` is being handled: receivers of task_finished read sys.exc_info()."""
        outcome = self._decide(run, error, monotonic())
        sender = run.task.func if run.task else None
        if isinstance(outcome, Failed):
            if self._framework_hears_failures and run.task is not None:
                failure = outcome.failure
                self._finish_framework_result(run, TaskResultStatus.FAILED)
                object.__setattr__(run.result, "reason", failure.message)
                self._result(run).errors.append(
                    TaskError(exception_class_path=failure.exception_class, traceback=failure.traceback)
                )
                self._announce_end(run)
            signals.run_failed.announce(sender, claim=run.claim, outcome=outcome, exception=error)
        elif isinstance(outcome, Retried):
            signals.run_retried.announce(sender, claim=run.claim, outcome=outcome, exception=error)
        signals.after_run.announce(sender, backwards=True, claim=run.claim, outcome=outcome)
        return outcome

    def _decide(self, run: Run, error: BaseException, ended: float) -> Outcome:
        claim, task = run.claim, run.task
        if isinstance(error, Unrun):
            state = State(claim.verdict)
            return Discarded(claim, run.started, ended, state, WHY_UNRUN[state])
        if isinstance(error, Discard):
            return Discarded(claim, run.started, ended, State.CANCELLED, storable(str(error.reason), LONGEST_MESSAGE))
        failure = failure_of(error)
        delay = None
        if (
            isinstance(task, Task)
            and task.native
            and not isinstance(error, (TaskNotFound, PayloadError, ArgumentError))
        ):
            delay = self._retry_delay(run, task, error)
        if delay is None:
            return Failed(claim, run.started, ended, failure)
        return Retried(claim, run.started, ended, failure, delay)

    def _retry_delay(self, run: Run, task: Task[Any, Any], error: BaseException) -> float | None:
        """Seconds until the next try, or None for no further one."""
        tries = run.claim.job.tries + 1
        asked = isinstance(error, Retry)
        # Who raises Retry and has set no limit means it; MOST_ATTEMPTS ends what would go on for ever.
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
            delay = backoff(error, self._result(run))
            return None if delay is None else in_seconds(delay)
        except Exception:
            logger.exception("The backoff of %s failed; using the default", task.module_path)
            return Backoff().seconds(tries)

    def _result(self, run: Run) -> Result[Any]:
        if run.result is None:
            claim, task = run.claim, run.known_task
            if claim.attempt > 1:  # its earlier failures are wanted too
                database = task.get_backend().broker.database  # type: ignore[attr-defined]
                run.result = read_results([claim.job.id], database).get(claim.job.id)
            if run.result is None:
                run.result = running_result(task, claim, self._worker_id)
        return run.result

    def _announce_end(self, run: Run) -> None:
        compat.announce(compat.task_finished, type(run.known_task.get_backend()), self._result(run))

    def _finish_framework_result(self, run: Run, status: TaskResultStatus) -> None:
        result = self._result(run)
        object.__setattr__(result, "status", status)
        object.__setattr__(result, "state", State(status.value))
        object.__setattr__(result, "finished_at", as_orm_gives(datetime.now(UTC)))

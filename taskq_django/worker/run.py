"""What one run gathers on its way."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Any

from ..handles import running_result, stored_results
from ..jobs import Claim
from ..results import Result
from ..tasks import Task


@lru_cache(maxsize=4096)
def masked_in_reports(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """A coroutine stays one. Django asks who called a frame, so names are masked in what the function calls too."""
    from django.views.decorators.debug import sensitive_variables  # it imports all of Django's views

    try:
        return sensitive_variables(*names)(function)
    except ValueError:  # a coroutine that has no source, which Django cannot tell from others
        return function


class Run:
    """Belongs to the thread that runs it."""

    __slots__ = ("_result", "_worker_id", "claim", "has_returned", "started", "task")

    def __init__(self, claim: Claim, worker_id: str) -> None:
        self.claim = claim
        self.task: Task[..., Any] | None = None
        self.has_returned = False  # then an error is about its return value
        self.started = monotonic()
        self._worker_id = worker_id
        self._result: Result[Any] | None = None

    @property
    def timeout(self) -> float | None:
        """Seconds, of this task's runs."""
        return self.task.timeout if self.task else None  # type: ignore[return-value]  # a Task makes it so

    @property
    def known_task(self) -> Task[..., Any]:
        if self.task is None:
            raise AssertionError("asked for only once the task has been found")
        return self.task

    @property
    def function(self) -> Callable[..., Any]:
        """The task's, in which Django's error reports mask what is sensitive."""
        task = self.known_task
        return masked_in_reports(task.func, task.sensitive) if task.sensitive else task.func

    @property
    def result(self) -> Result[Any]:
        """The job's handle; made only for who asks: a context, a backoff, or the signals of django.tasks."""
        if self._result is None:
            claim, task = self.claim, self.known_task
            if claim.attempt > 1:  # its earlier failures are wanted too
                database = task.get_backend().broker.database  # type: ignore[attr-defined]
                self._result = stored_results([claim.job.id], database).get(claim.job.id)
            if self._result is None:
                self._result = running_result(task.given, claim, self._worker_id)
        return self._result

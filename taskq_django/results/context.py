"""What a task that runs knows of its job, and can say of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, cast

from .. import compat
from ..exceptions import ArgumentError
from ..jobs import LONGEST_PROGRESS_TEXT, Progress, headers_of

if TYPE_CHECKING:
    from .handle import Result


class TaskContext(compat.TaskContext):  # type: ignore[type-arg]
    """What a task with ``takes_context=True`` gets first."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        return cast("Result[Any]", self.task_result).metadata

    @property
    def slot(self) -> datetime | None:
        """The moment for which a schedule has enqueued this job (aware, UTC), however late it runs; None without one.

        By it, and not by the clock, a nightly job should choose the day that it works for.
        """
        running: Any = getattr(self, "_seat", None)  # the worker's, of this run
        try:
            return datetime.fromisoformat(headers_of(running.claim.job.headers)["schedule"]["slot"])  # type: ignore[index]
        except (AttributeError, ValueError, KeyError, TypeError):
            return None

    @property
    def is_cancelled(self) -> bool:
        """Somebody has asked to cancel this job: end soon, best by ``raise Discard``.

        Half a second later it is ended.
        """
        seat = getattr(self, "_seat", None)  # the worker's, of this run
        return bool(seat and seat.is_cancelled)

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far this run is: ``done`` of ``total`` (None: not known), and what it is at.

        Costs microseconds, asks no database, and joins no transaction: the worker writes the last thing said, twice a
        second at most, and once more when the run is over. A ``text`` of more than 255 characters is cut.
        Raises ArgumentError (a TypeError and a ValueError) for what is no number, NaN or infinite, below 0, or more
        than the total.
        """
        progress = _checked(done, total, text)
        if note := getattr(self, "_note_progress", None):  # the worker's, of this run
            note(progress)

    @cached_property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry the job's id, task and attempt in ``extra``."""
        result = self.task_result
        facts = {"job_id": result.id, "task": result.task.module_path, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger("taskq_django.task"), facts)


def _checked(done: float, total: float | None, text: str) -> Progress:
    count, whole = _count("done", done), None if total is None else _count("total", total)
    if whole is not None and count > whole:
        remedy = "Pass total=None where it is not known, or min(done, total)."
        raise ArgumentError(f"context.progress: done is {done!r}, more than the total of {total!r}. {remedy}")
    kept = str(text).replace("\0", "").encode("utf-8", "replace").decode()  # what no database refuses
    if len(kept) > LONGEST_PROGRESS_TEXT:
        kept = f"{kept[: LONGEST_PROGRESS_TEXT - 1]}…"
    return Progress(count, whole, kept)


def _count(name: str, value: float) -> float:
    if not isinstance(value, Real | Decimal):
        raise ArgumentError(f"context.progress: {name} must be a number, not {value!r} ({type(value).__name__}).")
    try:
        count = float(value)
    except (OverflowError, ValueError):  # a signaling NaN
        count = math.inf
    if not 0 <= count < math.inf:
        raise ArgumentError(f"context.progress: {name} must be a finite number from 0 on, not {value!r}.")
    return count

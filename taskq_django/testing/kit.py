"""The verbs of a test: what was enqueued, run it, move its time, make it fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, ParamSpec, Self, TypedDict, TypeVar, Unpack

from asgiref.sync import sync_to_async
from django.db import connections
from django.test import TestCase
from django.utils import timezone

from .. import compat
from ..exceptions import BrokenSchedule, Discard, has_twin
from ..models import Schedule
from ..results import Result
from ..states import State
from ..tasks import Task, wrapped
from . import reports, time_travel
from .enqueued import Enqueued, wanted
from .recorder import Recorder
from .routing import without_engines
from .running import refuse_broken, run_all, run_one

P = ParamSpec("P")
R = TypeVar("R")
Moment = datetime | timedelta | float


class Call(TypedDict, total=False):
    """As ``assert_enqueued`` has them."""

    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None
    queue_name: str | None
    run_after: Moment | None


class CountedCall(Call, total=False):
    times: int | None


class Run(TypedDict, total=False):
    """As ``run_all`` has them."""

    limit: int | None
    queues: tuple[str, ...]
    backends: tuple[str, ...]


class TaskqKit:
    """For one test: ``with TaskqKit() as taskq:``. The fixture ``taskq`` and ``TaskqTestMixin`` do that.

    Jobs run in the calling thread, by the worker's own loop, when the test says so. What asks the database has an
    async twin with an ``a``.
    """

    def __init__(self) -> None:
        self._recorder = Recorder()
        self._ahead = timedelta()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(without_engines())
        self._open.enter_context(self._recorder)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    # --- what was enqueued ------------------------------------------------------------------------------------------

    @property
    @has_twin
    def enqueued(self) -> list[Enqueued]:
        """Every job that this test has enqueued, in that order, whether it has run since or not.

        What was rolled back is not there. One query.
        """
        refuse_broken(time_travel.our_databases())
        return self._recorder.enqueued()

    async def aenqueued(self) -> list[Enqueued]:
        return await sync_to_async(lambda: self.enqueued)()

    @has_twin
    def assert_enqueued(
        self,
        task: compat.AnyTask,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue_name: str | None = None,
        run_after: Moment | None = None,
        times: int | None = None,
    ) -> list[Enqueued]:
        """This task was enqueued, at least once or exactly ``times``; returns those jobs.

        ``args`` and ``kwargs`` together are the whole call, as ``enqueue`` would take it; neither: any call. A
        ``run_after`` of seconds or a timedelta counts from the enqueue. Raises AssertionError, which shows what was
        enqueued instead, and ArgumentError (a TypeError) for arguments that the task does not take.
        """
        __tracebackhide__ = True
        asked = wanted(task, args, kwargs, queue_name, run_after)
        all_ = self.enqueued
        found = [each for each in all_ if asked.is_task_of(each) and not asked.differences(each)]
        if not found if times is None else len(found) != times:
            raise AssertionError(reports.not_enqueued(asked, times, found, all_))
        return found

    async def aassert_enqueued(self, task: compat.AnyTask, **asked: Unpack[CountedCall]) -> list[Enqueued]:
        return await sync_to_async(self.assert_enqueued)(task, **asked)

    @has_twin
    def refute_enqueued(
        self,
        task: compat.AnyTask | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue_name: str | None = None,
        run_after: Moment | None = None,
    ) -> None:
        """No such job was enqueued; without a task: none at all. Raises as ``assert_enqueued``."""
        __tracebackhide__ = True
        asked = wanted(task, args, kwargs, queue_name, run_after)
        if found := [each for each in self.enqueued if asked.is_task_of(each) and not asked.differences(each)]:
            raise AssertionError(reports.enqueued_after_all(asked, found))

    async def arefute_enqueued(self, task: compat.AnyTask | None = None, **asked: Unpack[Call]) -> None:
        await sync_to_async(self.refute_enqueued)(task, **asked)

    @contextmanager
    def capture_on_commit(self, *, execute: bool = True) -> Iterator[list[Any]]:
        """Call the callbacks of ``transaction.on_commit()`` at the end of the block, though a TestCase never commits.

        Gives the list of them, filled at the end. Of every database; without ``execute`` they are taken and not called.
        """
        taken: list[Any] = []
        with ExitStack() as stack:
            lists = [
                stack.enter_context(TestCase.captureOnCommitCallbacks(using=alias, execute=execute))
                for alias in connections
            ]
            yield taken
        taken += [callback for each in lists for callback in each]

    # --- run --------------------------------------------------------------------------------------------------------

    @has_twin
    def run_all(self, **asked: Unpack[Run]) -> int:
        """As ``taskq_django.testing.run_all``."""
        return run_all(**asked)

    async def arun_all(self, **asked: Unpack[Run]) -> int:
        return await sync_to_async(self.run_all)(**asked)

    @has_twin
    def perform(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Enqueue this, run this job and no other one, and return what the task returned.

        One attempt, now, whatever its ``run_after``. What the task raises is raised here too, Retry and Discard as
        well; the job has then ended, or waits for its next attempt. None where the task stores no result.
        """
        refuse_broken([time_travel.broker_of(task.backend).database])
        handle = task.enqueue(*args, **kwargs)
        if handle.state is State.CANCELLED:  # by a receiver of before_enqueue
            raise Discard(handle.reason)
        run_one(handle.id, handle.backend)
        return self._recorder.value_of(handle.id, str(handle))  # type: ignore[no-any-return]

    async def aperform(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(self.perform)(task, *args, **kwargs)

    # --- time -------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """What the clock of this test shows: the database's, and what ``advance`` has added to it. Aware."""
        return time_travel.clock() + self._ahead

    @has_twin
    def advance(self, by: timedelta | float | None = None, *, to: datetime | None = None) -> None:
        """Let so much time pass (seconds or a timedelta), or all until ``to``, for what waits: it is due sooner.

        Nothing is run. ``timezone.now()`` of the project's own code stays as it is.
        """
        if (by is None) == (to is None):
            raise TypeError("advance() takes how much time passes, or to=…, the moment that comes.")
        if to is not None:
            passed = (to if timezone.is_aware(to) else timezone.make_aware(to)) - self.now
        else:
            passed = by if isinstance(by, timedelta) else timedelta(seconds=by or 0)
        if passed < timedelta():
            raise ValueError(f"advance() cannot go back: that is {-passed} ago.")
        refuse_broken(time_travel.our_databases())
        time_travel.age_what_waits(passed)
        self._ahead += passed

    async def aadvance(self, by: timedelta | float | None = None, *, to: datetime | None = None) -> None:
        await sync_to_async(self.advance)(by, to=to)

    @has_twin
    def tick(
        self, schedule: str | compat.AnyTask | Schedule | None = None, *, at: datetime | None = None
    ) -> list[Enqueued]:
        """Fire the schedules that are due in the minute which ends at ``at`` (default: now), as a beat does.

        ``schedule``: only this one, by its name, or those of a task; None: all. Returns the jobs that were enqueued.
        Raises BrokenSchedule for a schedule that cannot fire, LookupError for one that is not there.
        """
        moment = self.now if at is None else at if timezone.is_aware(at) else timezone.make_aware(at)
        refuse_broken(time_travel.our_databases())
        count = self._recorder.count
        found, problems = time_travel.fire(moment, _chooser(schedule))
        if problems:
            raise BrokenSchedule("; ".join(problems))
        if schedule is not None and not found:
            raise LookupError(f"There is no schedule of {schedule!r}, neither in code nor in the database.")
        return self._recorder.enqueued(since=count)

    async def atick(
        self, schedule: str | compat.AnyTask | Schedule | None = None, *, at: datetime | None = None
    ) -> list[Enqueued]:
        return await sync_to_async(self.tick)(schedule, at=at)

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def fail_next_run(
        self, task: compat.AnyTask, exception: BaseException | type[BaseException], *, times: int = 1
    ) -> None:
        """The next run of this task, or the next ``times``, raises this instead of calling the function."""
        self._recorder.fail(wrapped(task).func, exception, times)

    @has_twin
    def lose_a_claim(self, job: Enqueued | Result[Any]) -> None:
        """A process claims this job, begins it and is killed; then its jobs are rescued, as a supervisor does.

        The attempt is kept as WorkerLost, and the job waits for the next one, or has FAILED: at the third death, or
        where the task has ``rerun_on_crash=False``. The function is not called.
        """
        alias = job.job.backend if isinstance(job, Enqueued) else job.backend
        refuse_broken(time_travel.our_databases())
        if not time_travel.lose(job.id, time_travel.broker_of(alias)):
            raise AssertionError(f"{job} cannot be claimed: it has ended, or its queue is paused.")

    async def alose_a_claim(self, job: Enqueued | Result[Any]) -> None:
        await sync_to_async(self.lose_a_claim)(job)


def _chooser(schedule: str | compat.AnyTask | Schedule | None) -> time_travel.Chooser:
    """Is this the one, by its name and the path of its task?"""
    match schedule:
        case None:
            return lambda name, path: True
        case str():
            return lambda name, path: name == schedule
        case Schedule():
            return lambda name, path: name == schedule.name
        case _:
            asked = wrapped(schedule)
            paths = {asked.module_path, *asked.aliases}
            return lambda name, path: path in paths

"""The backend for django.tasks: translates between the framework's words and ours, and does nothing else.

It is built while modules with tasks are imported, when models may not be there yet, so it imports what needs
them when it is first used. The framework makes one per thread: it must stay cheap and own nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.utils import timezone

from . import compat
from .backoff import LONGEST_DELAY
from .compat import BaseTaskBackend, InvalidTask, InvalidTaskBackend
from .conf import BackendOptions, queue_name_problem, read_options
from .conf.declaration import listed
from .exceptions import ConfigurationError, has_twin
from .jobs import is_id
from .registry import registry
from .task_options import refuse_text
from .tasks import Misplaced, Task, wrapped

if TYPE_CHECKING:
    from .brokers import Broker
    from .results import Result

P = ParamSpec("P")
R = TypeVar("R")

OFFER = "Add the queue there (an empty list means any queue), or name another one: @task(queue_name=…)."


class TaskqBackend(BaseTaskBackend):
    """``TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend"}}``; without QUEUES any queue may be used."""

    task_class = Task
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True
    # Does it take a timedelta as run_after, counted from the enqueue?
    supports_relative_defer = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        # What is wrong in QUEUES or OPTIONS is for the system checks to say: here it would be a traceback at import.
        super().__init__(alias, {"OPTIONS": params.get("OPTIONS", {})})
        queues = params.get("QUEUES") or []
        self.queues = (
            {name for name in queues if isinstance(name, str)} if isinstance(queues, list | tuple | set) else set()
        )
        self._validated: dict[int, Task[..., Any]] = {}  # by id; tasks are many times enqueued and seldom made

    @cached_property
    def taskq_options(self) -> BackendOptions:
        return read_options(self.alias, self.options)

    @cached_property
    def broker(self) -> Broker:
        from .brokers import broker_for

        return broker_for(self.alias, self.taskq_options)

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """What our app's own system checks cannot say, for without the app they do not run."""
        if apps.is_installed("taskq_django"):
            return []
        message = f'TASKS["{self.alias}"] has the backend of taskq_django, whose app is not installed.'
        return [Error(message, hint='Add "taskq_django" to INSTALLED_APPS.', id="taskq_django.E015")]

    def validate_task(self, task: Any) -> None:
        asked: Any = task
        is_relative = isinstance(task.run_after, timedelta)
        if not (is_relative or task.run_after is None or isinstance(task.run_after, datetime)):  # of Django's own Task
            raise InvalidTask(f"run_after must be a datetime or a timedelta, not {task.run_after!r}.")
        is_misplaced = bool(self.queues) and task.queue_name not in self.queues
        if is_relative and abs(task.run_after).total_seconds() > LONGEST_DELAY:
            raise InvalidTask(f"run_after is {task.run_after}, more than a hundred years.")
        if is_relative or is_misplaced:
            asked = SimpleNamespace(
                **{name: getattr(task, name) for name in ("func", "priority", "takes_context")},
                run_after=None if is_relative else task.run_after,
                queue_name=min(self.queues) if is_misplaced else task.queue_name,
            )
        super().validate_task(asked)
        if asked.run_after is not None:
            _refuse_no_moment(asked.run_after, getattr(task, "expires", None) or 0)
        problem = queue_name_problem(task.queue_name)
        if problem:
            raise InvalidTask(problem)
        if not is_misplaced:
            registry.add(task)
            return
        if wrapped(task).native:
            registry.add(task)  # for the system check to find
        raise Misplaced(
            f"Queue '{task.queue_name}' is not valid for backend. The task {task.module_path} "
            f"{not_offered(task.queue_name, self)} {OFFER}",
            task,
        )

    def _validated_once(self, given: compat.AnyTask) -> Task[..., Any]:
        """Again, for the settings may have changed since the task was built; then this is another backend object."""
        task = self._validated.get(id(given))
        if task is None or task.given is not given:
            self.validate_task(given)
            if len(self._validated) > 500:  # copies made by using() come and go
                self._validated.clear()
            task = self._validated[id(given)] = wrapped(given)
        return task

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Result[Any]:
        from .client import enqueue

        __traceback_hide__ = True  # from error reports, because args and kwargs are here
        ours = self._validated_once(task)
        send = unseen(enqueue) if ours.sensitive else enqueue
        result = send(ours, (args, kwargs), self.broker, self.taskq_options)
        if compat.is_heard(compat.task_enqueued, logging.DEBUG):
            compat.announce(compat.task_enqueued, type(self), result)
        return result

    def enqueue_many(
        self, task: Any, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]
    ) -> Sequence[Result[Any]]:
        from .client import enqueue_many

        __traceback_hide__ = True  # as above
        ours = self._validated_once(task)
        send = unseen(enqueue_many) if ours.sensitive else enqueue_many
        results = send(ours, calls, self.broker, self.taskq_options)
        if compat.is_heard(compat.task_enqueued, logging.DEBUG):
            for result in results:
                compat.announce(compat.task_enqueued, type(self), result)
        return results

    @has_twin
    def get_result(self, result_id: str) -> Result[Any]:
        """One query, two for a job that has failed before. Raises TaskResultDoesNotExist."""
        found = self.get_results([result_id])
        if not found:
            raise compat.unknown_result(result_id)
        return found[0]

    @has_twin
    def get_results(self, result_ids: Iterable[str]) -> list[Result[Any]]:
        """Those of the jobs that exist, by one query (two when some have failed before).

        Of those that wait or run outside the store their broker is asked too.
        """
        from .handles import read_results

        refuse_text(result_ids, "result_ids", "for a single one call get_result")
        ids = [str(UUID(id_)) for id_ in map(str, result_ids) if is_id(id_)]
        found = read_results(ids, self.broker)
        return [found[id_] for id_ in ids if id_ in found]

    async def aget_results(self, result_ids: Iterable[str]) -> list[Result[Any]]:
        return await sync_to_async(self.get_results)(result_ids)


def _refuse_no_moment(run_after: datetime, patience: float) -> None:
    """It is stored in UTC, with when it expires; what the calendar of a database or of Python lacks, none reads."""
    try:
        due = (run_after if timezone.is_aware(run_after) else timezone.make_aware(run_after)).astimezone(UTC)
        _expires = due + timedelta(seconds=patience)
        if not settings.USE_TZ:
            timezone.make_naive(due)
    except OverflowError:
        and_so_long = f", and expires {timedelta(seconds=patience)} later" if patience else ""
        raise InvalidTask(
            f"run_after is {run_after}{and_so_long}; give a moment that is in the years 1 to 9999 in UTC too."
        ) from None


def not_offered(queue_name: str, backend: TaskqBackend) -> str:
    offered = listed(sorted(backend.queues))
    return f'waits in the queue "{queue_name}", and TASKS["{backend.alias}"]["QUEUES"] has {offered} only.'


def our_backends() -> tuple[str, ...]:
    """The aliases in TASKS that have a backend of ours."""
    found = []
    for alias in compat.task_backends:
        with suppress(InvalidTaskBackend):  # cannot be imported: the framework's own check says so
            if isinstance(compat.task_backends[alias], TaskqBackend):
                found.append(alias)
    return tuple(found)


def home() -> tuple[str, str] | None:
    """Backend and queue of the tasks that this app itself has; None where no backend is ours."""
    ours = our_backends()
    if not ours:
        return None
    alias = "default" if "default" in ours else ours[0]
    queues = compat.task_backends[alias].queues
    return alias, "default" if not queues or "default" in queues else min(queues)


def brokers_of(aliases: tuple[str, ...]) -> dict[str, Broker]:
    """The brokers of these aliases. Raises ConfigurationError for one that is not ours."""
    brokers: dict[str, Broker] = {}
    known = our_backends()
    for alias in aliases:
        if alias not in known:
            raise ConfigurationError(
                f"TASKS has no backend {alias!r} of taskq_django; it has {', '.join(map(repr, known)) or 'none'}."
            )
        brokers[alias] = compat.task_backends[alias].broker  # type: ignore[attr-defined]
    if not brokers:
        raise ConfigurationError(
            "No alias in TASKS has a backend of taskq_django, so this worker has nothing to do: "
            'set TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend"}}.'
        )
    return brokers


def databases_of(brokers: Iterable[Broker]) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(broker.database for broker in brokers))


@lru_cache  # of two functions
def unseen(function: Callable[P, R]) -> Callable[P, R]:
    """The same, but Django's error reports show no variable of it, or of what it calls: a driver's, say."""
    from django.views.decorators.debug import sensitive_variables  # it imports all of Django's views

    return sensitive_variables()(function)

"""How the handle of a job is made: of one that is sent, that runs, or that is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from . import codec, compat
from .brokers import Broker
from .brokers.base import Found
from .compat import TaskResultStatus
from .exceptions import PayloadError, TaskNotFound
from .jobs import Claim, Job, headers_of
from .models import JobResult
from .models.moments import as_orm_has
from .registry import registry
from .results import Result, StoredError
from .states import FRAMEWORK_STATUS, State
from .store.connections import ask
from .store.stories import Story, read_stories
from .tasks import Task, unvalidated


def sent_result(task: compat.AnyTask, job: Job, sent_at: datetime, run_after: datetime | None) -> Result[Any]:
    """The handle of a job that was sent just now: equal to what ``read_results`` gives for it."""
    is_later = run_after is not None and run_after > sent_at
    return _result(task, job, State.SCHEDULED if is_later else State.READY, enqueued_at=as_orm_has(sent_at))


def running_result(task: compat.AnyTask, claim: Claim, worker_id: str) -> Result[Any]:
    """The handle of a job that this process has begun to run for the first time."""
    now = as_orm_has(datetime.now(UTC))
    return _result(
        task,
        claim.job,
        State.RUNNING,
        enqueued_at=as_orm_has(datetime.fromtimestamp(claim.job.enqueued_at, UTC)),
        started_at=now,
        last_attempted_at=now,
        worker_ids=[worker_id],
    )


def record_veto(task: compat.AnyTask, job: Job, reason: str, broker: Broker) -> Result[Any]:
    """Write down a job that a receiver of before_enqueue did not let through: CANCELLED, with the reason."""
    now = timezone.now()
    told = ("id", "task_path", "backend", "queue_name", "priority", "payload", "headers")
    JobResult.objects.using(broker.database).create(
        **{name: getattr(job, name) for name in told},
        status=State.CANCELLED,
        enqueued_at=now,
        finished_at=now,
        message=reason,
    )
    return stored_results([job.id], broker.database)[job.id]


def read_results(ids: Iterable[str], broker: Broker) -> dict[str, Result[Any]]:
    """The results of these jobs by id, of those that wait or run outside the store too; an unknown id is left out."""
    return {id_: _result_of(story) for id_, story in all_stories(ids, broker).items()}


def stored_results(ids: Iterable[str], database: str) -> dict[str, Result[Any]]:
    """As ``read_results``, of those that are in the store."""
    return {id_: _result_of(story) for id_, story in _stories(list(ids), database).items()}


def all_stories(ids: Iterable[str], broker: Broker) -> dict[str, Story]:
    """Of the jobs that the store knows, or the broker."""
    wanted = list(ids)
    stories = _stories(wanted, broker.database)
    if left := [id_ for id_ in wanted if id_ not in stories]:
        stories |= {id_: story_of(found) for id_, found in broker.find(left).items()}
        # It may have left the engine for the store between the two.
        if left := [id_ for id_ in left if id_ not in stories]:
            stories |= _stories(left, broker.database)
    return stories


def _stories(ids: list[str], database: str) -> dict[str, Story]:
    return ask(database, lambda: read_stories(ids, database))


def story_of(found: Found) -> Story:
    """Of a job that only its broker knows: what it was enqueued with, and who holds it."""
    job, state, worker_id = found
    return Story(
        id=job.id,
        task_path=job.task_path,
        backend=job.backend,
        queue_name=job.queue_name,
        status=state.value,
        enqueued_at=as_orm_has(datetime.fromtimestamp(job.enqueued_at, UTC)),
        run_after=None,
        payload=job.payload,
        headers=job.headers,
        attempts=max(job.attempts, int(state is State.RUNNING)),
        worker_id=worker_id or None,
        priority=job.priority,
        started_at=None,
        last_attempted_at=None,
        finished_at=None,
        return_value=None,
        exception_class="",
        message="",
    )


def _result_of(story: Story) -> Result[Any]:
    asked = {name: getattr(story, name) for name in ("backend", "queue_name", "priority", "run_after")}
    result = _result(
        stored_task(story.task_path, **asked, metadata=metadata_of(story.headers) or None),
        story,
        State(story.status),
        reason=story.message,
        enqueued_at=story.enqueued_at,
        started_at=story.started_at,
        finished_at=story.finished_at,
        last_attempted_at=story.last_attempted_at,
        errors=[
            StoredError(exception_class_path=each.exception_class, traceback=each.traceback) for each in story.failures
        ],
        worker_ids=story.worker_ids,
    )
    if story.return_value is not None:
        with suppress(PayloadError):
            object.__setattr__(result, "_return_value", codec.decode_value(story.return_value))
    return result


def _result(task: compat.AnyTask, of: Job | Story, state: State, **more: Any) -> Result[Any]:
    """What a handle has at any time, and as ``more`` what it has by now."""
    args, kwargs = _readable(of.payload)
    return Result(
        task=task,
        id=of.id,
        status=TaskResultStatus(FRAMEWORK_STATUS[state]),
        state=state,
        args=args,
        kwargs=kwargs,
        backend=of.backend,
        metadata=metadata_of(of.headers),
        **({"started_at": None, "finished_at": None, "last_attempted_at": None, "errors": [], "worker_ids": []} | more),
    )


def _readable(payload: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments; none where they cannot be read, for the rest of the story is wanted all the same."""
    try:
        return codec.decode_call(payload)
    except PayloadError:
        return [], {}


def metadata_of(headers: str) -> Mapping[str, Any]:
    """Nothing of headers that cannot be read: the rest of the story is wanted all the same."""
    found = (headers_of(headers) or {}).get("metadata")
    return found if type(found) is dict else {}


def missing_task(path: str, backend: str) -> compat.AnyTask:
    """Stands in for a task whose code is gone, so that its results stay readable."""

    def gone(*args: Any, **kwargs: Any) -> Any:
        raise TaskNotFound(f"No task is registered as {path!r}.")

    gone.__module__, _, gone.__qualname__ = path.rpartition(".")
    gone.__name__ = gone.__qualname__
    return unvalidated(Task, func=gone, backend=backend)


def stored_task(path: str, *, backend: str, **asked: Any) -> compat.AnyTask:
    """The Task as it was enqueued. Never validates: its queue or its code may have gone since."""
    try:
        task = registry.find(path).given
    except TaskNotFound:
        task = missing_task(path, backend)
    asked["backend"] = backend
    if not isinstance(task, Task):
        del asked["metadata"]  # a Task of the framework's own class, bound to us by using()
    if all(getattr(task, name) == value for name, value in asked.items()):
        return task
    values = {name: getattr(task, name) for name in type(task).__dataclass_fields__}
    return unvalidated(type(task), **{**values, **asked})

"""From a call of ``enqueue`` to the broker: checks, hooks, send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from inspect import Parameter
from typing import Any, cast, overload

import orjson
from django.conf import settings
from django.utils import timezone

from . import codec, signals
from .brokers import Broker
from .conf import BackendOptions, is_redacted
from .exceptions import ArgumentError, Discard
from .handles import record_veto, sent_result
from .jobs import SENSITIVE, Job, new_id
from .results import Result
from .tasks import Task, check_arguments, parameters_of, spelled_parameters

Call = tuple[Sequence[Any], Mapping[str, Any]]

# Jobs sent in one statement. More would not be faster, and a thousand payloads of 1 KiB are a statement of 1 MiB.
SENT_AT_ONCE = 1000


def enqueue(task: Task[..., Any], call: Call, broker: Broker, options: BackendOptions) -> Result[Any]:
    """Check and send one job; the handle knows its id, and when the broker took it."""
    job = make_job(task, call, broker.alias, options)
    try:
        job = ask_receivers(task, job)
    except Discard as veto:
        return record_veto(task, job, veto.reason, broker)
    return _sent(task, job, send([(task, job)], broker, in_store=not task.rerun_on_crash))


def enqueue_many(
    task: Task[..., Any], calls: Sequence[Call], broker: Broker, options: BackendOptions
) -> Sequence[Result[Any]]:
    """Check all, then send them in batches. When a batch fails the ones before it have been sent."""
    jobs: list[Job] = []
    for call in calls:
        try:
            jobs.append(make_job(task, call, broker.alias, options))
        except ArgumentError as error:
            raise type(error)(f"Call {len(jobs)} of {len(calls)}, counted from 0: {error}") from None
    vetoed: dict[str, Result[Any]] = {}
    if signals.before_enqueue.receivers:
        for position, job in enumerate(jobs):
            try:
                jobs[position] = ask_receivers(task, job)
            except Discard as veto:
                vetoed[job.id] = record_veto(task, job, veto.reason, broker)
    moments: list[datetime | None] = []
    in_store = not task.rerun_on_crash
    for start in range(0, len(jobs), SENT_AT_ONCE):
        batch = [job for job in jobs[start : start + SENT_AT_ONCE] if job.id not in vetoed]
        moments.append(send([(task, job) for job in batch], broker, in_store) if batch else None)
    return SentResults(task, jobs, moments, vetoed)


class SentResults(Sequence[Result[Any]]):
    """The handles of many jobs, each made when it is asked for: making all would cost more than sending them."""

    def __init__(
        self,
        task: Task[..., Any],
        jobs: Sequence[Job],
        moments: Sequence[datetime | None],
        vetoed: Mapping[str, Result[Any]],
    ) -> None:
        self._task, self._jobs, self._moments = task, jobs, moments
        self._made = {position: vetoed[job.id] for position, job in enumerate(jobs) if job.id in vetoed}

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, index: int) -> Result[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Result[Any]]: ...
    def __getitem__(self, index: int | slice) -> Result[Any] | Sequence[Result[Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        moment = self._moments[position // SENT_AT_ONCE]
        if position not in self._made and moment is not None:  # None: the whole batch was vetoed, and is in _made
            self._made[position] = _sent(self._task, self._jobs[position], moment)
        return self._made[position]

    def __repr__(self) -> str:
        return f"<{len(self)} results of {self._task.module_path}>"

    @property
    def ids(self) -> list[str]:
        """The ids of all, without making a handle."""
        return [job.id for job in self._jobs]


def make_job(task: Task[..., Any], call: Call, alias: str, options: BackendOptions) -> Job:
    """The job of a call that fits the task. Raises ArgumentError."""
    args, kwargs = call
    names = check_arguments(task, args, kwargs) if task.native else ()
    payload = codec.encode_call(
        args,
        kwargs,
        names=names,
        hides=partial(_is_sensitive, task),
        max_bytes=options.max_payload,
        plain=not task.native,
        function=task.func if task.native else None,
        takes_context=task.takes_context,
    )
    run_after, delay_us = task.run_after, None
    if isinstance(run_after, timedelta):
        delay_us = int(run_after.total_seconds() * 1e6)
        run_after = None
    elif run_after is not None and not timezone.is_aware(run_after):
        run_after = timezone.make_aware(run_after)  # allowed under USE_TZ = False only; the backend has checked
    headers: dict[str, Any] = {}
    if task.sensitive:
        # A page must mask them even if it cannot import the task, or if the task has changed since.
        parameters = spelled_parameters(task.func, task.takes_context)
        headers[SENSITIVE] = {"names": task.sensitive, "parameters": parameters}
    if task.metadata:
        headers["metadata"] = task.metadata
    return Job(
        id=new_id(),
        task_path=task.module_path,
        payload=payload,
        backend=alias,
        queue_name=task.queue_name,
        priority=int(task.priority),  # because django.tasks accepts 3.0 too
        run_after=run_after,
        delay_us=delay_us,
        expires_us=None if task.expires is None else int(cast("float", task.expires) * 1e6),
        headers=_headers_text(headers) if headers else "",
    )


def _is_sensitive(task: Task[..., Any], key: int | str) -> bool:
    """Is the argument at this position, or of this keyword, a secret by the task or by the settings?"""
    known, names, *_ = parameters_of(task.func, task.takes_context)
    starred = {each.kind: each.name for each in known.parameters.values()}
    if isinstance(key, int):
        takers = [names[key] if key < len(names) else starred.get(Parameter.VAR_POSITIONAL, "")]
    else:
        takers = [key, key if key in known.parameters else starred.get(Parameter.VAR_KEYWORD, "")]
    return any(name in task.sensitive or is_redacted(name) for name in takers)


def _headers_text(headers: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(headers).decode()
    except TypeError as error:
        raise ArgumentError(f"Metadata and headers must be JSON (dict, list, str, numbers): {error}.") from None


def ask_receivers(task: Task[..., Any], job: Job) -> Job:
    """Ask the receivers of before_enqueue: they may add headers, or veto by raising Discard."""
    if not signals.before_enqueue.receivers:
        return job
    headers: dict[str, Any] = orjson.loads(job.headers) if job.headers else {}
    signals.before_enqueue.send(task.func, job=job, headers=headers)
    return job._replace(headers=_headers_text(headers)) if headers else job


def send(asked: Sequence[tuple[Task[..., Any], Job]], broker: Broker, in_store: bool = False) -> datetime:
    """Hand the jobs to their broker, and tell who listens; returns when, by the broker's clock.

    ``in_store``: as ``Broker.send`` has it.
    """
    try:
        sent_at = broker.send([job for _, job in asked], in_store)
    except Exception as error:
        for task, job in asked:
            signals.enqueue_failed.announce(task.func, job=job, exception=error)
        raise
    if signals.after_enqueue.receivers:
        for task, job in asked:
            signals.after_enqueue.announce(task.func, job=job)
    return sent_at


def _sent(task: Task[..., Any], job: Job, sent_at: datetime) -> Result[Any]:
    given, run_after = task.given, job.run_after
    if job.delay_us is not None:
        run_after = sent_at + timedelta(microseconds=job.delay_us)
        given = given.using(run_after=run_after if settings.USE_TZ else timezone.make_naive(run_after))
    return sent_result(given, job, sent_at, run_after)

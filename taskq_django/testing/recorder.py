"""Listens to the signals of one test: what is enqueued, and what comes of each run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from .. import codec, compat, signals
from ..exceptions import Discard
from ..jobs import Claim, Discarded, Failed, Job, Outcome, Succeeded
from ..models import JobResult, QueuedJob
from .enqueued import Enqueued, enqueued_of


class Recorder:
    """Any thread may enqueue; the rest belongs to the thread of the test."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._ended: set[str] = set()  # ids of those that have ended here
        self._outcomes: dict[str, Outcome] = {}  # by id, of the last run of each
        self._exceptions: dict[str, BaseException] = {}  # the same
        self._failing: dict[Callable[..., Any], list[BaseException | type[BaseException]]] = defaultdict(list)
        self._heard = (
            (signals.after_enqueue, self._note_job),
            (signals.result_recorded, self._note_end),
            (signals.run_failed, self._note_exception),
            (signals.run_retried, self._note_exception),
        )

    def __enter__(self) -> None:
        for signal, note in self._heard:
            signal.connect(note, weak=False)

    def __exit__(self, *error: object) -> None:
        for signal, note in self._heard:
            signal.disconnect(note)
        signals.before_run.disconnect(self._fail_as_asked)

    @property
    def count(self) -> int:
        """How many jobs were enqueued, what was rolled back too."""
        return len(self._jobs)

    def enqueued(self, since: int = 0) -> list[Enqueued]:
        """What was enqueued and not rolled back: it waits, it runs, or it has ended."""
        jobs = self._jobs[since:]
        unsure: dict[str, set[str]] = defaultdict(set)
        for job in jobs:
            if job.id not in self._ended:
                unsure[_database_of(job.backend)].add(job.id)
        there = set(self._ended)
        for database, ids in unsure.items():
            for table in (QueuedJob, JobResult):
                if left := ids - there:
                    rows = table._default_manager.using(database).filter(pk__in=left)
                    there.update(map(str, rows.values_list("pk", flat=True)))
        return [enqueued_of(job) for job in jobs if job.id in there]

    def value_of(self, job_id: str, said: str) -> Any:
        """What this run has returned. Raises what it has raised."""
        if (error := self._exceptions.pop(job_id, None)) is not None:
            raise error
        match self._outcomes.pop(job_id, None):
            case Succeeded(value=text):
                return None if text is None else codec.decode_value(text)
            case Discarded(reason=reason):
                raise Discard(reason)
        raise AssertionError(f"{said} was not run: its queue is paused, or another session has it.")

    def fail(self, function: Callable[..., Any], exception: BaseException | type[BaseException], times: int) -> None:
        self._failing[function] += [exception] * times
        signals.before_run.connect(self._fail_as_asked, weak=False)

    def _fail_as_asked(self, sender: Callable[..., Any], **named: Any) -> None:
        if planned := self._failing.get(sender):
            raise planned.pop(0)

    def _note_job(self, sender: object, job: Job, **named: Any) -> None:
        self._jobs.append(job)

    def _note_end(self, sender: object, outcome: Outcome, **named: Any) -> None:
        job_id = outcome.claim.job.id
        self._outcomes[job_id] = outcome
        if isinstance(outcome, Succeeded | Discarded | Failed):
            self._ended.add(job_id)

    def _note_exception(self, sender: object, claim: Claim, exception: BaseException, **named: Any) -> None:
        self._exceptions[claim.job.id] = exception


def _database_of(alias: str) -> str:
    return compat.task_backends[alias].broker.database  # type: ignore[attr-defined,no-any-return]

"""Processes for suspects: each runs one job and nothing else, and ends. A supervisor opens few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from ..brokers import Broker
from ..jobs import Claim
from .blackboard import Blackboard, Wanted
from .crash_record import CrashRecord
from .options import WorkerOptions

FEW = 2  # wards of a worker at a time, beside its processes
REST = 1.0  # seconds between a death in a ward and the next one for a task that keeps killing


class Wards:
    """Which suspects get a process. The supervisor's loop owns it."""

    def __init__(self, record: CrashRecord) -> None:
        self._record = record
        self._open: dict[str, Wanted] = {}  # by the id of the process
        self._resting: dict[int, float] = {}  # the keys of tasks, until when (monotonic)

    def __contains__(self, worker_id: str) -> bool:
        return worker_id in self._open

    def granted(self, boards: Iterable[Blackboard]) -> list[Wanted]:
        """What is to be run in new ones. The rest is still wanted, or comes back by itself when it is due again."""
        for key in [key for key, until in self._resting.items() if until <= monotonic()]:
            del self._resting[key]
            self._record.isolate(key, yes=False)
        granted: list[Wanted] = []
        for board in boards:
            if (wanted := board.wanted) is None:
                continue
            if wanted.until <= monotonic():
                board.granted()  # it has come back, and may have moved on
            elif len(self._open) + len(granted) < FEW:
                board.granted()
                others = [*self._open.values(), *granted]
                is_busy = wanted.key in self._resting or wanted.key in [other.key for other in others]
                is_there = wanted.job_id in [other.job_id for other in others]
                if not is_there and not (is_busy and self._record.keeps_killing(wanted.key)):
                    granted.append(wanted)
        return granted

    def opened(self, worker_id: str, wanted: Wanted) -> None:
        self._open[worker_id] = wanted
        self._record.isolate(wanted.key, yes=True)

    def closed(self, worker_id: str, *, has_died: bool) -> None:
        if (wanted := self._open.pop(worker_id, None)) is not None:
            self._resting[wanted.key] = monotonic() + (REST if has_died else 0.0)


class OneJob:
    """A broker as the loop of a ward sees it: one job waits there, and it can be claimed once.

    If it cannot, for it has moved on or its queue is paused, the ward ends all the same.
    """

    def __init__(self, broker: Broker, job_id: str, until: float) -> None:
        """``job_id``: "" for none; ``until``: as in Wanted."""
        self._broker = broker
        self._job_id = job_id
        self._until = until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def ready_queues(self) -> list[str]:
        return ["its own"] if self._job_id else []

    def claim(self, queue_names: Sequence[str], limit: int, worker_id: str) -> list[Claim]:
        job_id, self._job_id = self._job_id, ""
        claim = self._broker.take(job_id, worker_id) if job_id and monotonic() < self._until else None
        return [] if claim is None else [claim]

    def promote(self) -> None:
        """What is due is the others' business."""


def options_of_a_ward(options: WorkerOptions) -> WorkerOptions:
    """It ends when its job has; whatever the others may, and in whichever queue it waits."""
    return replace(
        options,
        threads=1,
        coroutines=1,
        queues=(),
        exclude_queues=(),
        burst=True,
        max_tasks=None,
        max_tasks_per_child=None,
        max_memory_per_child=None,
    )


def brokers_of_a_ward(brokers: Mapping[str, Broker], wanted: Wanted) -> dict[str, Any]:
    return {
        alias: OneJob(broker, wanted.job_id if number == wanted.backend else "", wanted.until)
        for number, (alias, broker) in enumerate(brokers.items())
    }

"""How many runs came to what, and their seconds: read by the SDK when it exports, so that a run costs an addition."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from ... import __version__
from ...jobs import Claim, Outcome, Released

MOST_KINDS = 2000  # that are told apart; what is beyond is counted under no name

_lock = threading.Lock()
_runs: dict[tuple[str, str, str, str], list[float]] = {}  # by backend, queue, task and outcome: runs, seconds, waited


def count(claim: Claim, outcome: Outcome) -> None:
    """A run that has ended. In any thread that runs jobs."""
    if isinstance(outcome, Released):
        return
    job = claim.job
    key = (job.backend, job.queue_name, job.task_path, type(outcome).__name__.lower())
    with _lock:
        if (totals := _runs.get(key)) is None:
            if len(_runs) >= MOST_KINDS:
                key = (job.backend, "", "", key[3])
            totals = _runs.setdefault(key, [0, 0.0, 0.0])
        totals[0] += 1
        totals[1] += outcome.ended - outcome.started
        totals[2] += claim.waited


def offer() -> None:
    """To whatever SDK is set up."""
    meter = metrics.get_meter("taskq_django", __version__)
    for place, name, unit, what in (
        (0, "taskq.runs", "{run}", "Runs that have ended, by what came of them."),
        (1, "taskq.run.time", "s", "How long these runs took, in all."),
        (2, "taskq.wait.time", "s", "How long their jobs had waited once they were due, in all."),
    ):
        meter.create_observable_counter(name, callbacks=[_reader(place)], unit=unit, description=what)


def _reader(place: int) -> Any:
    def read(options: CallbackOptions) -> Iterable[Observation]:
        with _lock:
            found = [(key, totals[place]) for key, totals in _runs.items()]
        for (backend, queue, task, outcome), value in found:
            attributes = {"messaging.destination.name": queue, "taskq.backend": backend, "taskq.task": task}
            yield Observation(value, {**attributes, "taskq.outcome": outcome})

    return read

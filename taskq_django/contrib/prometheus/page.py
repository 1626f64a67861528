"""The page, in the text format of Prometheus."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from ...store.counts import FIRST
from ...worker.probes import Page
from ...worker.tally_sharing import SHARED, Gathered, share_no_more

OUTCOMES = ("succeeded", "failed", "retried", "dropped")  # in the order of Tally.ends
# Of the buckets in which times are counted every second one is told, from 1 ms to more than an hour: each is a line for
# each task.
TOLD = range(-9, 14, 2)  # binary exponents: 2 ms, 8 ms, 31 ms, 125 ms, 0.5 s, 2 s, ...
LABELS, OUTCOME = ("backend", "queue", "task"), "outcome"


class Metrics(Page):
    """Of one worker: its supervisor serves it, its processes count."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._folder = ""
        self._gathered: Gathered | None = None

    def open(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="taskq-django-")
        self._gathered = Gathered(self._folder)
        os.environ[SHARED] = self._folder

    def text(self) -> bytes:
        # Here, because only a worker that is asked needs it.
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        registry.register(self)  # type: ignore[arg-type]  # it has what a collector needs
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):  # the project's own metrics, of all its processes there
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def close(self) -> None:
        share_no_more()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._gathered = None

    def collect(self) -> Iterator[object]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        runs = CounterMetricFamily(
            "taskq_runs", "Runs that have ended, by what came of them.", labels=[*LABELS, "outcome"]
        )
        ran = HistogramMetricFamily("taskq_run_seconds", "How long runs took.", labels=LABELS)
        waited = HistogramMetricFamily("taskq_wait_seconds", "How long jobs waited once they were due.", labels=LABELS)
        for kind, tally in (self._gathered.total() if self._gathered else {}).items():
            for outcome, count in zip(OUTCOMES, tally.ends, strict=True):
                if count:
                    runs.add_metric([*kind, outcome], count)
            ran.add_metric(kind, _buckets(tally.runs), tally.ran)
            waited.add_metric(kind, _buckets(tally.waits), tally.waited)
        yield from (runs, ran, waited)


def _buckets(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Each with all below it."""
    told = [(str(2.0**exponent), float(sum(counts[: exponent - FIRST + 1]))) for exponent in TOLD]
    return [*told, ("+Inf", float(sum(counts)))]

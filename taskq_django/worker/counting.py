"""Counts what came of runs, in memory, and has it written down once a minute."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from time import monotonic

from django.db import connections

from ..brokers import Broker
from ..exceptions import one_line
from ..jobs import Discarded, Failed, Outcome, Released, Retried, Succeeded
from ..store.connections import OUTAGE, let_go
from ..store.counts import (
    DROPPED,
    FAILED,
    MOST_KINDS,
    RETRIED,
    SUCCEEDED,
    Kind,
    Spans,
    Tallies,
    Tally,
    bucket_of,
    merged,
)
from .reach import Reach
from .tally_sharing import Sharer, shared_folder

logger = logging.getLogger("taskq_django.worker")

EVERY = 60.0  # seconds
TIMED = 32  # of a larger group only so many are timed, each for several: more would tell no more
NONE = Tally()
PLACES = {Succeeded: SUCCEEDED, Failed: FAILED, Retried: RETRIED, Discarded: DROPPED}


class Counting:
    """Loop thread only."""

    def __init__(self, brokers: Mapping[str, Broker], reach: Reach, worker_id: str) -> None:
        self._brokers = brokers
        self._reach = reach
        self._worker_id = worker_id
        self._fresh: dict[str, Tallies] = {alias: {} for alias in brokers}  # what is not written down yet
        self._spans: dict[str, Spans] = {}  # by database
        self._write_at = monotonic() + EVERY
        self._sharer = Sharer(folder) if (folder := shared_folder()) else None

    def add(self, alias: str, outcomes: Sequence[Outcome]) -> None:
        """What is stored of this alias. On the path of every job, so that it must cost next to nothing."""
        kinds, queue, path, tally = self._fresh[alias], "", "", NONE
        ends = tally.ends
        step = 1 + len(outcomes) // TIMED
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Released):
                continue
            job = outcome.claim.job
            if job.task_path != path or job.queue_name != queue:  # most of a group are alike
                queue, path = job.queue_name, job.task_path
                tally = _tally_of(Kind(alias, queue, path), kinds)
                ends = tally.ends
            ends[PLACES[type(outcome)]] += 1
            if number % step == 0:
                waited, ran = outcome.claim.waited, outcome.ended - outcome.started
                tally.waits[bucket_of(waited)] += step
                tally.runs[bucket_of(ran)] += step
                tally.waited += waited * step
                tally.ran += ran * step

    def turn(self) -> None:
        """Write it down when it is time to."""
        if monotonic() >= self._write_at:
            self.write()
        if self._sharer is not None:
            self._sharer.turn(self._all())

    def end(self) -> None:
        """Nothing more will be counted."""
        self.write()
        if self._sharer is not None:
            self._sharer.turn(self._all(), at_once=True)

    def _all(self) -> Iterator[tuple[Kind, Tally]]:
        return chain.from_iterable(fresh.items() for fresh in self._fresh.values())

    def write(self) -> None:
        """Write down all; what cannot be written now is kept for the next minute."""
        self._write_at = monotonic() + EVERY
        by_database: dict[str, list[str]] = {}
        for alias, fresh in self._fresh.items():
            if fresh and self._reach.has(alias):
                by_database.setdefault(self._brokers[alias].database, []).append(alias)
        for database, aliases in by_database.items():
            spans = self._spans.setdefault(database, Spans(self._worker_id, database))
            try:
                spans.add(merged(each for alias in aliases for each in self._fresh[alias].items()))
            except OUTAGE as error:
                logger.warning("What was counted of jobs cannot be written yet: %s", one_line(error))
                let_go(connections[database])
            else:
                if self._sharer is not None:
                    self._sharer.add(chain.from_iterable(self._fresh[alias].items() for alias in aliases))
                self._fresh |= {alias: {} for alias in aliases}


def _tally_of(kind: Kind, kinds: Tallies) -> Tally:
    if kind not in kinds and len(kinds) >= MOST_KINDS:
        kind = Kind(kind.backend, "", "")
    if (tally := kinds.get(kind)) is None:
        tally = kinds[kind] = Tally()
    return tally

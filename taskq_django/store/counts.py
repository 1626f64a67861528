"""How many runs came to what, and how long jobs waited and ran: counted by each process, added up by who reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import frexp
from typing import Any, NamedTuple

import orjson
from django.db.models import Count, Q, QuerySet

from ..models import JobCounts
from ..models.moments import DatabaseNow, as_orm_has, aware, database_now
from .connections import own_transaction

MINUTE, HOUR = 60, 3600  # seconds of a row
KEPT = {MINUTE: 2 * HOUR, HOUR: 8 * 24 * HOUR}  # seconds
FOLDED_AT_ONCE = 100  # rows: each may be long
LATE = 120  # seconds after the end of a span in which its processes may still be writing
MOST_KINDS = 500  # that one process tells apart; what is beyond is counted under no name
SUCCEEDED, FAILED, RETRIED, DROPPED = range(4)

# A time falls into a bucket by its binary exponent: e is from 2**(e-1) to 2**e seconds.
FIRST, LAST = -13, 18  # up to 0.12 ms, and from 1.5 days
BUCKETS = LAST - FIRST + 1


class Kind(NamedTuple):
    """What is counted together."""

    backend: str
    queue_name: str
    task_path: str


@dataclass(slots=True)
class Tally:
    ends: list[int] = field(default_factory=lambda: [0] * 4)  # by SUCCEEDED, FAILED, RETRIED, DROPPED
    waits: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    runs: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    waited: float = 0.0  # seconds, of all in ``waits``; no row keeps it
    ran: float = 0.0

    def add(self, other: Tally) -> None:
        self.waited += other.waited
        self.ran += other.ran
        for mine, theirs in ((self.ends, other.ends), (self.waits, other.waits), (self.runs, other.runs)):
            mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]

    @property
    def ended(self) -> int:
        """Jobs, not runs: what is retried has not ended."""
        return sum(self.ends) - self.ends[RETRIED]


Tallies = dict[Kind, Tally]


def bucket_of(seconds: float) -> int:
    return min(max(frexp(seconds)[1], FIRST), LAST) - FIRST if seconds > 0 else 0


def quantile(histogram: Sequence[int], part: float) -> float | None:
    """Seconds that ``part`` of them took at most, within the bucket as if they were spread evenly; None: of none."""
    left = sum(histogram) * part
    for number, count in enumerate(histogram):
        if count and left <= count:
            low = 0.0 if number == 0 else 2.0 ** (number + FIRST - 1)
            return low + (2.0 ** (number + FIRST) - low) * left / count
        left -= count
    return None


def merged(kinds: Iterable[tuple[Kind, Tally]]) -> Tallies:
    total: Tallies = {}
    for kind, tally in kinds:
        known = total.get(kind)
        if known is None and len(total) >= MOST_KINDS:
            kind = Kind(kind.backend, "", "")
            known = total.get(kind)
        if known is None:
            known = total[kind] = Tally()
        known.add(tally)
    return total


class Spans:
    """The minute and the hour that a process is in, in one database; it alone writes their rows."""

    def __init__(self, worker_id: str, database: str) -> None:
        self._worker_id = worker_id
        self._database = database
        self._begun: dict[int, tuple[datetime, Tallies]] = {}  # by the length

    def add(self, fresh: Tallies) -> None:
        """Write down what was counted since the last call. Raises OUTAGE, and then it is to be handed in again."""
        now = database_now(self._database)
        begun: dict[int, tuple[datetime, Tallies]] = {}
        with own_transaction(self._database):
            for seconds in (MINUTE, HOUR):
                begin = datetime.fromtimestamp(now.timestamp() // seconds * seconds, UTC)
                before, total = self._begun.get(seconds, (begin, Tallies()))
                total = merged([*(total if before == begin else {}).items(), *fresh.items()])
                begun[seconds] = begin, total
                JobCounts.objects.using(self._database).update_or_create(
                    worker_id=self._worker_id,
                    seconds=seconds,
                    begins_at=as_orm_has(begin),
                    defaults={"counts": _text(total)},
                )
        self._begun = begun


def read_counts(database: str, since: Mapping[int, datetime]) -> Iterator[tuple[int, datetime, Tallies]]:
    """The rows of each length (MINUTE, HOUR) that begin from its moment on, in their order: length, begin, counts."""
    wanted = Q(pk__in=[])
    for seconds, begin in since.items():
        wanted |= Q(seconds=seconds, begins_at__gte=as_orm_has(begin))
    rows = JobCounts.objects.using(database).filter(wanted).order_by("seconds", "begins_at")
    for seconds, begin, text in rows.values_list("seconds", "begins_at", "counts"):
        yield seconds, aware(begin), _tallies(text)


def prune_counts(database: str, at_once: int) -> int:
    """Remove up to so many rows that nobody reads any more; returns how many."""
    for seconds, kept in KEPT.items():
        old = JobCounts.objects.using(database).filter(seconds=seconds, begins_at__lt=DatabaseNow(-kept))
        if ids := list(old.order_by("begins_at").values_list("id", flat=True)[:at_once]):
            with own_transaction(database):
                return JobCounts.objects.using(database).filter(id__in=ids).delete()[0]
    return 0


def fold_counts(database: str) -> int:
    """Make one of the rows of a span that is over, so that many short lives of processes cost readers nothing.

    Of one span, up to FOLDED_AT_ONCE; returns how many rows are fewer. Any number of workers may do so at once: each
    takes rows that no other has. What cannot be read may be a newer release's, and stays.
    """
    for seconds in KEPT:
        rows = JobCounts.objects.using(database).filter(seconds=seconds)
        over = rows.filter(begins_at__lt=DatabaseNow(-seconds - LATE))
        several = over.values("begins_at").annotate(count=Count("id")).filter(count__gt=1).order_by("begins_at")
        for begin in several.values_list("begins_at", flat=True):
            if removed := _fold(database, rows.filter(begins_at=begin)):
                return removed
    return 0


def _fold(database: str, rows: QuerySet[JobCounts]) -> int:
    with own_transaction(database):
        taken = rows.order_by("id").select_for_update(skip_locked=True)[:FOLDED_AT_ONCE]
        told = {row.id: tallies for row in taken if (tallies := _tallies(row.counts))}
        if len(told) < 2:
            return 0
        total = merged(each for tallies in told.values() for each in tallies.items())
        kept, *others = told
        # Under a name that no process has: one that writes all the same writes a row of its own.
        rows.filter(id=kept).update(worker_id=f"several/{kept}", counts=_text(total))
        return rows.filter(id__in=others).delete()[0]


def _text(tallies: Mapping[Kind, Tally]) -> str:
    told = [[*kind, tally.ends, tally.waits, tally.runs] for kind, tally in tallies.items()]
    return orjson.dumps(told).decode()


def _tallies(text: str) -> Tallies:
    """What another release, or another hand, has written otherwise is left out."""
    found: Tallies = {}
    try:
        told: Any = orjson.loads(text)
        for *kind, ends, waits, runs in told:
            if (len(ends), len(waits), len(runs)) == (4, BUCKETS, BUCKETS) and len(kind) == 3:
                ends, waits, runs = ([int(n) for n in each] for each in (ends, waits, runs))
                found[Kind(*map(str, kind))] = Tally(ends, waits, runs)
    except (ValueError, TypeError):
        return {}
    return found

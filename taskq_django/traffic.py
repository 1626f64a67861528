"""What went through of late: what has ended as the worker processes have counted it, and what was enqueued by its rows.

For pages and commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from .models import JobResult, QueuedJob
from .store.counts import (
    BUCKETS,
    DROPPED,
    FAILED,
    HOUR,
    MINUTE,
    RETRIED,
    SUCCEEDED,
    Tallies,
    Tally,
    merged,
    quantile,
    read_counts,
)
from .store.pruning import first_id

RATED = 5  # full minutes that a rate is the mean of
MOST_ENQUEUED = 100_000  # jobs of these minutes that are counted, in each database
DAY = 24 * HOUR

# By name: of which rows, how many seconds a bar is, and how many bars there are.
RANGES = {"1h": (MINUTE, MINUTE, 60), "24h": (HOUR, HOUR, 24), "7d": (HOUR, 6 * HOUR, 28)}


@dataclass(frozen=True, slots=True)
class Rate:
    """Of a queue, per minute."""

    ended: float = 0.0
    failed: float = 0.0


@dataclass(slots=True)
class Bar:
    begin: datetime
    ends: list[int] = field(default_factory=lambda: [0] * 4)

    @property
    def succeeded(self) -> int:
        return self.ends[SUCCEEDED]

    @property
    def failed(self) -> int:
        return self.ends[FAILED]

    @property
    def retried(self) -> int:
        return self.ends[RETRIED]

    @property
    def dropped(self) -> int:
        return self.ends[DROPPED]


@dataclass(slots=True)
class History:
    """``seconds``: of a bar; the last one is not full yet."""

    seconds: int
    bars: list[Bar]
    waits: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    runs: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def waited(self, part: float) -> float | None:
        """Seconds that this part of the jobs has waited at most."""
        return quantile(self.waits, part)

    def ran(self, part: float) -> float | None:
        return quantile(self.runs, part)


Rates = dict[tuple[str, str], Rate]  # by backend and queue


@dataclass(slots=True)
class _Rated:
    """The last full minutes, of queues in which something came to an end."""

    begin: datetime
    end: datetime
    totals: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def before(cls, now: datetime) -> _Rated:
        end = datetime.fromtimestamp(now.timestamp() // MINUTE * MINUTE, UTC)  # of the minute that is not full yet
        return cls(end - timedelta(minutes=RATED), end)

    def add(self, begin: datetime, tallies: Tallies) -> None:
        for kind, tally in tallies.items() if self.begin <= begin < self.end else ():
            ended, failed = self.totals.get(kind[:2], (0, 0))
            self.totals[kind[:2]] = ended + tally.ended, failed + tally.ends[FAILED]

    def rates(self) -> Rates:
        return {queue: Rate(ended / RATED, failed / RATED) for queue, (ended, failed) in self.totals.items()}


def rates(databases: Iterable[str], now: datetime) -> Rates:
    rated = _Rated.before(now)
    for database in databases:
        for _, begin, tallies in read_counts(database, {MINUTE: rated.begin}):
            rated.add(begin, tallies)
    return rated.rates()


def enqueued(databases: Iterable[str], now: datetime) -> tuple[float, bool]:
    """Jobs a minute, of the same minutes as ``rates``; and were there more than are counted?

    By the rows of jobs, whose ids begin with the time of the enqueue: nobody counts while he enqueues. So a job that
    waits in an engine is in it once it has ended.
    """
    rated = _Rated.before(now)
    least, beyond = first_id(rated.begin.timestamp()), first_id(rated.end.timestamp())
    total, are_more = 0, False
    for database in databases:
        live, ended = (
            model._default_manager.using(database).filter(id__gte=least, id__lt=beyond).order_by().values("id")
            for model in (QueuedJob, JobResult)
        )
        count = live.union(ended, all=True)[: MOST_ENQUEUED + 1].count()
        total, are_more = total + min(count, MOST_ENQUEUED), are_more or count > MOST_ENQUEUED
    return total / RATED, are_more


def by_task(databases: Iterable[str], now: datetime) -> dict[str, Tally]:
    """Of the last 24 hours, by the path of the task."""
    since = now - timedelta(seconds=DAY)
    found: dict[str, Tally] = {}
    for database in databases:
        for kind, tally in _added_up(database, HOUR, since).items():
            found.setdefault(kind.task_path, Tally()).add(tally)
    return found


def overview(databases: Iterable[str], name: str, now: datetime) -> tuple[History, Rates]:
    """Both by one query a database. ``name``: one of RANGES."""
    rows, width, count = RANGES[name]
    last = now.timestamp() // width * width
    begins = [datetime.fromtimestamp(last - width * n, UTC) for n in reversed(range(count))]
    found, rated = History(width, [Bar(begin) for begin in begins]), _Rated.before(now)
    since = {MINUTE: rated.begin, rows: begins[0]}
    for database in databases:
        for seconds, begin, tallies in read_counts(database, since):
            if seconds == MINUTE:
                rated.add(begin, tallies)
            if seconds != rows:
                continue
            place = int((begin - begins[0]).total_seconds() // width)
            for tally in tallies.values():
                if 0 <= place < count:  # a clock may have been put back
                    bar = found.bars[place]
                    bar.ends = [a + b for a, b in zip(bar.ends, tally.ends, strict=True)]
                found.waits = [a + b for a, b in zip(found.waits, tally.waits, strict=True)]
                found.runs = [a + b for a, b in zip(found.runs, tally.runs, strict=True)]
    return found, rated.rates()


def _added_up(database: str, seconds: int, since: datetime) -> Tallies:
    return merged(each for *_, tallies in read_counts(database, {seconds: since}) for each in tallies.items())

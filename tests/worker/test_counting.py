"""What a process counts of its runs, and writes down once a minute."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from taskq_django.compat import task_backends
from taskq_django.jobs import Claim, Discarded, Failed, Failure, Job, Outcome, Released, Retried, Succeeded
from taskq_django.models import JobCounts
from taskq_django.models.moments import as_orm_has
from taskq_django.states import State
from taskq_django.store import counts, pruning
from taskq_django.store.counts import HOUR, KEPT, MINUTE, MOST_KINDS, Kind, Spans, Tally, bucket_of, quantile
from taskq_django.traffic import by_task, overview, rates
from taskq_django.worker import counting as counting_module
from taskq_django.worker.counting import EVERY, Counting
from taskq_django.worker.reach import Reach
from tests.support.holding import a_board

pytestmark = pytest.mark.django_db

FAILURE = Failure("builtins.KeyError", "", "")
NOON = datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC)


class Clock:
    """Of the database."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self, database: str) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(counts, "database_now", clock)
    return clock


def counting() -> Counting:
    brokers: Any = {"default": task_backends["default"].broker}  # type: ignore[attr-defined]
    return Counting(brokers, Reach(brokers, a_board()), "w1")


def claim(path: str = "a.b", queue: str = "default", waited: float = 0.0) -> Claim:
    return Claim(Job("x", path, "", "default", queue), "", waited)


def succeeded(count: int = 1, *, ran: float = 0.0, **of: Any) -> list[Outcome]:
    return [Succeeded(claim(**of), 10.0, 10.0 + ran, None) for _ in range(count)]


def totals() -> dict[tuple[int, datetime], int]:
    """Runs by length and begin of the rows."""
    found = {}
    for seconds in (MINUTE, HOUR):
        for _, begin, tallies in counts.read_counts("default", {seconds: NOON - timedelta(days=1)}):
            found[seconds, begin] = sum(sum(tally.ends) for tally in tallies.values())
    return found


def test_each_end_is_counted_by_task_queue_and_kind(clock: Clock) -> None:
    made = counting()
    one = claim("a.c", "mail")
    made.add("default", [
        *succeeded(3), *succeeded(2, path="a.c"), Failed(one, 1, 2, FAILURE), Retried(one, 1, 2, FAILURE, 1.0),
        Discarded(one, 1, 2, State.CANCELLED, ""), Released(one, began=True), *succeeded(1),
    ])  # fmt: skip
    made.write()

    [(*_, found)] = counts.read_counts("default", {MINUTE: NOON - timedelta(hours=1)})

    assert {kind: tally.ends for kind, tally in found.items()} == {
        Kind("default", "default", "a.b"): [4, 0, 0, 0],
        Kind("default", "default", "a.c"): [2, 0, 0, 0],
        Kind("default", "mail", "a.c"): [0, 1, 1, 1],
    }
    assert sum(tally.ended for tally in found.values()) == 8


@pytest.mark.parametrize("size", [1, 31, 32, 100, 600])
def test_all_of_a_group_are_counted_and_some_are_timed_for_all(clock: Clock, size: int) -> None:
    made = counting()
    made.add("default", succeeded(size, ran=0.3, waited=5.0))
    made.write()
    tally = by_task(["default"], NOON)["a.b"]
    assert tally.ends[counts.SUCCEEDED] == size
    assert size <= sum(tally.runs) <= size + 1 + size // 32
    assert (tally.runs.index(sum(tally.runs)), tally.waits.index(sum(tally.waits))) == (bucket_of(0.3), bucket_of(5.0))


def test_a_process_has_one_row_a_minute_and_one_an_hour(clock: Clock) -> None:
    made = counting()
    for _ in range(3):  # within the minute: the last ones are written when it ends
        made.add("default", succeeded(2))
        made.write()
    clock.now += timedelta(minutes=1)
    made.add("default", succeeded(1))
    made.write()
    made.write()

    noon = NOON.replace(second=0)
    assert totals() == {(MINUTE, noon): 6, (MINUTE, noon + timedelta(minutes=1)): 1, (HOUR, noon): 7}
    assert JobCounts.objects.count() == 3


def test_nothing_is_written_before_its_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(counting_module, "monotonic", lambda: now[0])
    made = counting()
    made.add("default", succeeded())
    made.turn()
    assert totals() == {}
    now[0] += EVERY
    made.turn()
    assert len(totals()) == 2


def test_what_cannot_be_written_is_written_a_minute_later(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made = counting()
    made.add("default", succeeded(2))
    with monkeypatch.context() as patched:
        patched.setattr(counting_module, "let_go", lambda connection: None)
        patched.setattr(Spans, "add", lambda *args: (_ for _ in ()).throw(OperationalError("away")))
        made.write()
    made.add("default", succeeded(3))
    made.write()
    assert set(totals().values()) == {5}


def test_a_broker_that_is_away_is_not_asked(clock: Clock) -> None:
    made = counting()
    made.add("default", succeeded())
    made._reach.has = lambda alias: False  # type: ignore[method-assign]
    made.write()
    assert totals() == {}


def test_beyond_so_many_tasks_they_are_counted_together(clock: Clock) -> None:
    made = counting()
    for number in range(MOST_KINDS + 5):
        made.add("default", succeeded(path=f"t.n{number}"))
    made.write()
    found = by_task(["default"], NOON)
    assert len(found) == MOST_KINDS + 1
    assert found[""].ended == 5


def test_old_counts_are_removed(clock: Clock) -> None:
    for back in (0, *KEPT.values()):
        clock.now = datetime.now(UTC) - timedelta(seconds=back * 1.1)
        Spans(f"w{back}", "default").add({Kind("default", "q", "t"): Tally(ends=[1, 0, 0, 0])})
    assert pruning.prune_all("default") == 3
    assert sorted(JobCounts.objects.values_list("seconds", "worker_id")) == [
        (MINUTE, "w0"), (HOUR, "w0"), (HOUR, f"w{KEPT[MINUTE]}"),
    ]  # fmt: skip


def count_lives(clock: Clock, number: int, *, ago: float) -> None:
    """So many processes that have counted one job each, all in one minute."""
    clock.now = datetime.fromtimestamp((datetime.now(UTC).timestamp() - ago) // HOUR * HOUR, UTC)
    for n in range(number):
        Spans(f"w{n}", "default").add({Kind("default", "q", f"t{n % 3}"): Tally(ends=[1, 0, 2, 0])})


def read_all() -> list[tuple[datetime, Any]]:
    """What readers make of all rows, whichever of them hold it."""
    found: dict[datetime, Any] = {}
    for seconds in KEPT:
        for _, begin, tallies in counts.read_counts("default", {seconds: datetime(2026, 1, 1, tzinfo=UTC)}):
            begun = found.setdefault(begin, {})
            for kind, tally in tallies.items():
                begun.setdefault((seconds, kind), Tally()).add(tally)
    return sorted(found.items())


@pytest.mark.parametrize("lives", [2, 7, 30])
def test_of_many_short_lives_one_row_is_left_with_all_that_they_counted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, lives: int
) -> None:
    monkeypatch.setattr(counts, "FOLDED_AT_ONCE", 5)
    count_lives(clock, lives, ago=5 * HOUR)
    count_lives(clock, 1, ago=7 * HOUR)
    before = read_all()

    assert sum(iter(lambda: counts.fold_counts("default"), 0)) == 2 * (lives - 1)

    assert read_all() == before
    assert JobCounts.objects.count() == 4
    assert counts.fold_counts("default") == 0


def test_a_span_that_a_process_may_be_in_is_not_folded(clock: Clock) -> None:
    for clock.now in (datetime.now(UTC), datetime.now(UTC) - timedelta(seconds=MINUTE + counts.LATE / 4)):
        for name in ("w1", "w2"):
            Spans(name, "default").add({Kind("default", "q", "t"): Tally(ends=[1, 0, 0, 0])})
    rows = JobCounts.objects.filter(seconds=MINUTE).count()
    counts.fold_counts("default")
    assert JobCounts.objects.filter(seconds=MINUTE).count() == rows


def test_who_counts_after_the_fold_takes_nothing_away(clock: Clock) -> None:
    count_lives(clock, 3, ago=5 * HOUR)
    while counts.fold_counts("default"):
        pass
    count_lives(clock, 1, ago=5 * HOUR)
    assert {sum(sum(t.ends) for t in tallies.values()) for _, tallies in read_all()} == {2 * 4 * 3}


def test_what_cannot_be_read_is_not_folded_and_keeps_none_from_it(clock: Clock) -> None:
    for back in (6, 5):
        count_lives(clock, 3, ago=back * HOUR)
    JobCounts.objects.filter(begins_at__lt=as_orm_has(clock.now)).update(counts="newer")
    while counts.fold_counts("default"):
        pass
    assert JobCounts.objects.filter(counts="newer").count() == 6
    assert JobCounts.objects.exclude(counts="newer").count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_that_fold_at_once_lose_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "FOLDED_AT_ONCE", 4)
    count_lives(clock, 24, ago=5 * HOUR)
    before = read_all()
    errors: list[Exception] = []

    def fold() -> None:
        try:
            for _ in range(20):
                counts.fold_counts("default")
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=fold) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert errors == []
    assert read_all() == before
    while counts.fold_counts("default"):
        pass
    assert JobCounts.objects.count() == 2


@pytest.mark.parametrize(
    "text", ["", "{}", "[[1]]", "[1]", '[["a","b","c",[1],[2],[3]]]', "\x00", '[["a","b","c","",0,0]]']
)
def test_what_another_hand_has_written_is_left_out(clock: Clock, text: str) -> None:
    JobCounts.objects.create(worker_id="x", seconds=MINUTE, begins_at=NOON, counts=text.replace("\x00", "\\0"))
    assert totals() in ({}, {(MINUTE, NOON): 0})


# --- what is read of them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.0002, 0.004, 0.3, 1.0, 59.0, 3600.0, 1e9])
def test_a_quantile_is_within_a_factor_of_two(seconds: float) -> None:
    tally = Tally()
    tally.runs[bucket_of(seconds)] += 100
    found = quantile(tally.runs, 0.5)
    assert found is not None
    low, high = 2.0**counts.FIRST, 2.0**counts.LAST
    assert min(max(seconds, low / 2), high / 2) / 2 <= found <= max(low, seconds * 2)


def test_quantiles_are_in_order_and_of_nothing_there_is_none() -> None:
    tally = Tally()
    for number in range(1, 1001):
        tally.runs[bucket_of(number / 1000)] += 1
    p50, p95 = quantile(tally.runs, 0.5), quantile(tally.runs, 0.95)
    assert math.isclose(p50 or 0, 0.5, rel_tol=0.1)
    assert math.isclose(p95 or 0, 0.95, rel_tol=0.1)
    assert quantile([0, 0], 0.5) is None


def test_a_rate_is_the_mean_of_the_last_five_minutes(clock: Clock) -> None:
    spans = Spans("w", "default")
    for minute in range(8):
        clock.now = NOON + timedelta(minutes=minute)
        spans.add({Kind("default", "mail", "t"): Tally(ends=[9, 3, 5, 0])})
    rate = rates(["default"], NOON + timedelta(minutes=7))["default", "mail"]
    assert (rate.ended, rate.failed) == (12.0, 3.0)
    assert rates(["default"], NOON + timedelta(hours=1)) == {}


@pytest.mark.parametrize("seconds", [0, 1, 30, 59])
def test_a_rate_does_not_depend_on_how_much_of_the_minute_is_over(clock: Clock, seconds: int) -> None:
    spans = Spans("w", "default")
    now = NOON + timedelta(minutes=7, seconds=seconds)
    clock.now = NOON
    while clock.now <= now:
        spans.add({Kind("default", "mail", "t"): Tally(ends=[2, 0, 0, 0])})
        clock.now += timedelta(seconds=10)
    assert rates(["default"], now)["default", "mail"].ended == 12.0


@pytest.mark.parametrize(("name", "bars"), [("1h", 60), ("24h", 24), ("7d", 28)])
def test_a_history_ends_now_and_holds_all_of_its_time(clock: Clock, name: str, bars: int) -> None:
    for back in (0.0, 0.5, 1.2):
        length = {"1h": 1, "24h": 24, "7d": 24 * 7}[name]
        clock.now = NOON - timedelta(hours=length * back)
        Spans(f"w{back}", "default").add({Kind("default", "q", "t"): Tally(ends=[10, 0, 0, 0])})
    found, _ = overview(["default"], name, NOON)
    assert len(found.bars) == bars
    assert [number for number, bar in enumerate(found.bars) if bar.succeeded] == [bars // 2 - 1, bars - 1]
    assert found.bars[-1].begin <= NOON < found.bars[-1].begin + timedelta(seconds=found.seconds)

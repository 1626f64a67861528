"""A week of two beats beside thousands of schedules: every slot comes once, and the last day costs what the first did.

Time is an argument of a tick, so a week takes minutes. In it the clocks of Europe, Egypt and America change, and the
beats are away twice. TASKQ_TEST_LONG=1 has 5,000 schedules and all of the week; else there are a few hundred, for the
hours around the first change.
"""

from __future__ import annotations

import os
import random
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import Count, F

from taskq_django.beat.ticker import Ticker
from taskq_django.conf import Beat
from taskq_django.models import Misfire, QueuedJob, Schedule, ScheduleRun
from tests.support.cron_oracle import Oracle, slots
from tests.support.scale import scaled
from tests.support.usage import usage_of

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(scaled(3600, 300)),
]

# Berlin puts its clocks back an hour later, Cairo on Friday, New York and Havana in the last hours.
START = datetime(2026, 10, 25, tzinfo=UTC)
SPAN = scaled(timedelta(days=7, hours=8), timedelta(hours=3))
SCHEDULES = scaled(5_000, 300)
EIGHTHS = 8
BETWEEN = 30.0, 55.0  # seconds between two looks of a beat; what is found a minute late was missed
SETTINGS = Beat()
AWAY = {  # when, as a part of the span, and how long
    0.3: scaled(timedelta(hours=5, minutes=7), timedelta(minutes=25)),
    0.6: timedelta(minutes=4),
}
STATEMENTS = 20  # of a tick, at most
GROWTH = 5.0  # MiB, from the second eighth to the last

ZONES = [
    *("Europe/Berlin", "Europe/London", "Africa/Cairo", "America/New_York", "America/Havana"),
    *("Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "UTC"),
]
CRONS = [
    *("0 * * * *", "*/15 * * * *", "*/20 1-2 * * *", "30 2 * * *", "15 1,23 * * *", "0 0 * * *", "30 */2 * * *"),
    *("45 2 * * fri-sun", "0 9-17 * * mon-fri", "10 0,1,2,3 L,30 3,4,10,11 *", "5 *,3 1W * *", "59-1 3-0/3 * * *"),
]
INTERVALS = {
    "10 minutes": 600,
    "45 minutes": 2700,
    "1 hour": 3600,
    "13 hours": 46_800,
    "1 day": 86_400,
    "2 days 3 hours": 183_600,
}


def make_schedules(lot: random.Random) -> list[Schedule]:
    rows = []
    for number in range(SCHEDULES):
        when: dict[str, Any] = {"spec": lot.choice(CRONS), "timezone": lot.choice(ZONES)}
        if number % 2:
            anchor = START + timedelta(seconds=lot.randrange(-86_400, 3600))
            when = {"kind": "interval", "spec": lot.choice(list(INTERVALS)), "timezone": "UTC", "start_at": anchor}
        rows.append(
            Schedule(
                name=f"s{number}",
                task_path="tests.app.tasks.add",
                args=[number],
                misfire=lot.choice(list(Misfire)),
                misfire_grace=lot.choice([600, 7200, 86_400]),
                misfire_cap=lot.choice([1, 5, 100]),
                jitter=lot.choice([0, 0, 300]),
                end_at=START + SPAN * lot.random() if number % 10 == 0 else None,
                max_runs=lot.randrange(1, 60) if number % 10 == 1 else None,
                **when,
            )
        )
        rows[-1].plan_from(START)
    return Schedule.objects.bulk_create(rows, batch_size=500)


def make_looks(lot: random.Random) -> list[datetime]:
    """The moments at which a beat wakes."""
    holes = {START + SPAN * part: gap for part, gap in AWAY.items()}
    looks, now = [], START
    while now < START + SPAN:
        begun = next((at for at in holes if at <= now), None)
        now += holes.pop(begun) if begun else timedelta(seconds=lot.uniform(*BETWEEN))
        looks.append(now)
    return looks


class Watched:
    """Counts the statements of a tick, and what the ticks took."""

    def __init__(self) -> None:
        self.sent = self.most = self.ticks = 0
        self.seconds = self.longest = 0.0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.sent += 1
        return execute(sql, params, many, context)

    def tick(self, beat: Ticker, now: datetime) -> int:
        """How many schedules have moved on."""
        self.sent, begun = 0, time.monotonic()
        with connection.execute_wrapper(self):
            moved = beat.tick(now).schedules
        seconds = time.monotonic() - begun
        self.most, self.longest = max(self.most, self.sent), max(self.longest, seconds)
        self.seconds, self.ticks = self.seconds + seconds, self.ticks + 1
        return moved


def test_in_a_week_every_slot_comes_once(record_property: Callable[[str, object], None]) -> None:
    lot = random.Random(14)
    rows = make_schedules(lot)
    looks = make_looks(lot)
    beats = [Ticker("default", SETTINGS), Ticker("default", SETTINGS)]
    watched = Watched()
    sizes, per_tick = [], []
    for eighth in range(EIGHTHS):
        seconds, ticks = watched.seconds, watched.ticks
        for now in looks[eighth * len(looks) // EIGHTHS : (eighth + 1) * len(looks) // EIGHTHS]:
            beat = lot.choice(beats)
            while watched.tick(beat, now) == SETTINGS.batch:
                pass
            beat.look_ahead(SETTINGS.max_sleep)
        sizes.append(usage_of(os.getpid()).own)
        per_tick.append((watched.seconds - seconds) / (watched.ticks - ticks) * 1000)

    record_property("slots", ScheduleRun.objects.count())
    record_property("ticks, and ms of one by eighth", f"{watched.ticks}: {' '.join(f'{ms:.1f}' for ms in per_tick)}")
    record_property("longest tick (ms)", round(watched.longest * 1000))
    record_property("statements of a tick, at most", watched.most)
    record_property("MiB of the process, by eighth", " ".join(f"{mib:.1f}" for mib in sizes))
    check_slots(rows, looks)
    check_jobs()
    assert watched.most <= STATEMENTS
    assert sizes[-1] - sizes[1] <= GROWTH, sizes


def check_slots(rows: list[Schedule], looks: list[datetime]) -> None:
    runs = ScheduleRun.objects.order_by("schedule_id", "slot").values_list("schedule_id", "slot")
    found = {key: [slot for _, slot in group] for key, group in groupby(runs.iterator(), key=lambda run: run[0])}
    by_cron = cron_slots(looks[-1])
    holes = [(a, b) for a, b in pairwise([START, *looks]) if (b - a).total_seconds() > BETWEEN[1]]
    assert len(holes) == len(AWAY)
    for row in rows:
        its_slots = by_cron[row.timezone, row.spec] if row.kind == "cron" else list(interval_slots(row, looks[-1]))
        expected = fired(row, its_slots, holes)
        got = found.get(row.pk, [])
        wrong = sorted(set(got) ^ set(expected))
        assert not wrong, f"{row.spec} in {row.timezone}: {wrong[0]} is {'too much' if wrong[0] in got else 'missing'}"
        assert got == expected
    told = Schedule.objects.annotate(runs_found=Count("runs")).exclude(run_count=F("runs_found"))
    assert not told.exists()
    assert not Schedule.objects.exclude(broken="").exists()


def fired(row: Schedule, its_slots: list[datetime], holes: list[tuple[datetime, datetime]]) -> list[datetime]:
    """What is to come of these slots where beats were away in the holes: told without the code that is judged."""
    its_slots = [slot for slot in its_slots if row.end_at is None or slot <= row.end_at]
    for begin, end in holes:
        first, last = bisect_right(its_slots, begin), bisect_right(its_slots, end)
        missed = its_slots[first:last]
        if missed and (end - missed[0]).total_seconds() > SETTINGS.missed_after:
            its_slots[first:last] = made_up_for(row, missed, end)
    return its_slots if row.max_runs is None else its_slots[: row.max_runs]


def made_up_for(row: Schedule, missed: list[datetime], now: datetime) -> list[datetime]:
    wanted = row.misfire_cap if row.misfire == Misfire.ALL else 1
    oldest = SETTINGS.missed_after if row.misfire == Misfire.SKIP else row.misfire_grace
    return [slot for slot in missed[-wanted:] if (now - slot).total_seconds() <= oldest]


def cron_slots(end: datetime) -> dict[tuple[str, str], list[datetime]]:
    oracles = [Oracle(spec) for spec in CRONS]  # they look at whole minutes, and so a little too far
    return {
        (zone, spec): [slot for slot in its_slots if slot <= end]
        for zone in ZONES
        for spec, its_slots in zip(CRONS, slots(oracles, ZoneInfo(zone), START, end), strict=True)
    }


def interval_slots(row: Schedule, end: datetime) -> Iterator[datetime]:
    step, slot = timedelta(seconds=INTERVALS[row.spec]), row.start_at
    assert slot is not None
    while slot <= end:
        if slot > START:
            yield slot
        slot += step


def check_jobs() -> None:
    """One a slot; those of schedules with jitter are put off, by no more than that."""
    assert QueuedJob.objects.count() == ScheduleRun.objects.count()
    put_off = dict(QueuedJob.objects.exclude(run_after=None).values_list("id", F("run_after") - F("enqueued_at")))
    jittered = set(ScheduleRun.objects.filter(schedule__jitter__gt=0).values_list("job_id", flat=True))
    assert put_off.keys() <= jittered
    assert len(put_off) > len(jittered) * 0.9
    assert max(put_off.values()) <= timedelta(seconds=301)

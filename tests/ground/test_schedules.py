from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from taskq_django.schedules import KINDS, read_kind, read_zone
from taskq_django.schedules.preview import next_runs, slots_after

NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
LAST = datetime(9998, 12, 31, 23, 59, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(spec: str, after: str, zone: str = "UTC") -> datetime | None:
    return read_kind("cron", spec, zone).next_after(utc(after))


# Fields


@pytest.mark.parametrize(
    ("field", "hours"),
    [
        ("22-2", [0, 1, 2, 22, 23]),
        ("22-2/3", [1, 22]),
        ("20-4/4", [0, 4, 20]),
        ("5/7", [5, 12, 19]),
        ("23/2", [23]),
        ("*/90", [0]),
        ("1-3,2-4,3", [1, 2, 3, 4]),
        ("007,08", [7, 8]),
    ],
)
def test_ranges_may_go_round_and_steps_stay_in_step(field: str, hours: list[int]) -> None:
    kind = read_kind("cron", f"0 {field} * * *", "UTC")
    assert [slot.hour for slot in slots_after(kind, utc("2026-01-01 23:59"), end=utc("2026-01-02 23:59"))] == hours


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("7", [4]),
        ("0", [4]),
        ("5-7", [2, 3, 4]),
        ("0-7", [1, 2, 3, 4, 5, 6, 7]),
        ("7-2", [4, 5, 6]),
        ("Fri-MON", [2, 3, 4, 5]),
        ("7/3", [3, 4, 7]),
        ("6/2", [3]),
        ("L5", []),
        ("5#1,mon#1", [2, 5]),
    ],
)
def test_a_sunday_is_0_and_7(field: str, days: list[int]) -> None:
    kind = read_kind("cron", f"0 0 * * {field}", "UTC")
    assert [slot.day for slot in slots_after(kind, utc("2025-12-31 23:59"), end=utc("2026-01-07 23:59"))] == days


@pytest.mark.parametrize("spec", ["0 0 */2 * 0-6", "0 0 1-31 * */2", "0 0 */1 * 1", "0 0 1-31 * 1", "0 0 5 * 0-7"])
def test_of_two_fields_for_the_day_either_is_enough_even_if_one_is_every_day(spec: str) -> None:
    kind = read_kind("cron", spec, "UTC")
    assert len(list(slots_after(kind, utc("2026-01-01 12:00"), end=utc("2026-01-11 12:00")))) == 10


def test_a_day_that_never_comes_leaves_the_weekdays() -> None:
    assert cron("0 0 30 2 1", "2026-01-01 00:00") == utc("2026-02-02 00:00")


def test_what_is_rare_is_found() -> None:
    assert cron("0 0 29 2 *", "2096-03-01 00:00") == utc("2104-02-29 00:00")
    assert cron("0 0 * 2 4#5", "2024-03-01 00:00") == utc("2052-02-29 00:00")
    assert cron("0 0 * 2 1#5", "2072-03-01 00:00") == utc("2112-02-29 00:00")


def test_an_expression_is_kept_as_it_is_written() -> None:
    specs = {"  0   9 * *  MON ": "0 9 * * MON", " @DAILY ": "@daily", "0 0 l * *": "0 0 l * *"}
    assert {given: read_kind("cron", given, "UTC").spec for given in specs} == specs


# The ends of time


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Etc/GMT+12"])
@pytest.mark.parametrize("spec", ["* * * * *", "30 9 * * *", "0 0 29 2 *", "0 0 * 12 fri#5"])
def test_the_end_of_time_is_the_end_of_the_slots(zone: str, spec: str) -> None:
    kind = read_kind("cron", spec, zone)
    for moment in (
        LAST - timedelta(days=900),
        LAST - timedelta(days=3),
        LAST,
        LAST + timedelta(hours=30),
        datetime.max.replace(tzinfo=UTC),
    ):
        slot = kind.next_after(moment)
        assert slot is None or slot > moment
    assert slot is None


def test_before_1970_there_are_slots() -> None:
    assert cron("30 9 * * *", "1969-12-31 23:59:59.500000", "Europe/Berlin") == utc("1970-01-01 08:30")
    assert cron("0 12 * * *", "1900-01-01 00:00", "UTC") == utc("1900-01-01 12:00")
    # Half a second before a gap.
    assert cron("30 2 * * *", "1967-04-30 06:59:59.500000", "America/New_York") == utc("1967-04-30 07:00")
    # 18 November 1883, noon: the clocks of New York were put back by 3 min 58 s.
    assert cron("58 11 * * *", "1883-11-18 12:00", "America/New_York") == utc("1883-11-18 16:54:02")
    assert cron("58 11 * * *", "1883-11-18 16:54:02", "America/New_York") == utc("1883-11-19 16:58")


@pytest.mark.parametrize(("kind", "spec"), [("cron", "* * * * *"), ("interval", "1 hour"), ("once", "2030-01-01")])
def test_a_moment_must_have_a_zone_and_may_have_any(kind: str, spec: str) -> None:
    schedule = read_kind(kind, spec, "Europe/Berlin")
    with pytest.raises(ValueError, match="has no time zone"):
        schedule.next_after(NOW.replace(tzinfo=None))
    slot = schedule.next_after(NOW.astimezone(ZoneInfo("Asia/Kathmandu")))
    assert slot == schedule.next_after(NOW)
    assert slot is not None
    assert slot.tzinfo is UTC


def test_threads_may_share_a_schedule() -> None:
    kind = read_kind("cron", "*/7 */3 * * 1-5", "Europe/Berlin")
    moments = [NOW + timedelta(hours=7 * n) for n in range(60)]
    expected = [kind.next_after(moment) for moment in moments]
    found: list[bool] = []

    def ask() -> None:
        found.append([kind.next_after(moment) for moment in moments] == expected)

    threads = [threading.Thread(target=ask, name=f"asks {n}") for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [True] * 4


# Intervals


def test_an_interval_counts_from_its_anchor_and_does_not_drift() -> None:
    anchor = utc("2026-03-28 10:01:30")
    kind = read_kind("interval", "90 minutes", "Europe/Berlin", anchor)
    assert kind.next_after(anchor - timedelta(days=3)) == anchor
    assert kind.next_after(anchor) == utc("2026-03-28 11:31:30")
    assert kind.next_after(utc("2026-03-29 02:00")) == utc("2026-03-29 02:31:30")


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        ("90 minutes", "1 hour 30 minutes"),
        ("1h30m", "1 hour 30 minutes"),
        ("1 hour, 30 min", "1 hour 30 minutes"),
        ("1 week 1 day", "8 days"),
        ("14 days", "2 weeks"),
        ("1S", "1 second"),
        ("3650 days", "3650 days"),
    ],
)
def test_an_interval_has_one_spelling(given: str, spec: str) -> None:
    kind = read_kind("interval", given, "UTC")
    assert kind.spec == spec
    assert read_kind("interval", kind.spec, "UTC").spec == spec


def test_an_interval_ends_with_time() -> None:
    assert read_kind("interval", "3650 days", "UTC").next_after(LAST) is None


# Once


@pytest.mark.parametrize(
    ("given", "spec", "slot", "note"),
    [
        ("2026-12-24 18:00", "2026-12-24 18:00", "2026-12-24 17:00", ""),
        ("2026-12-24T18:00:30.9", "2026-12-24 18:00:30", "2026-12-24 17:00:30", ""),
        ("2026-12-24", "2026-12-24 00:00", "2026-12-23 23:00", ""),
        ("2026-12-24T18:00Z", "2026-12-24 19:00", "2026-12-24 18:00", ""),
        ("2026-12-24T18:00+05:30", "2026-12-24 13:30", "2026-12-24 12:30", ""),
        ("2026-03-29 02:30", "2026-03-29 02:30", "2026-03-29 01:00", "02:30 does not exist on 29 Mar: runs at 03:00"),
        (
            "2026-10-25 02:30",
            "2026-10-25 02:30",
            "2026-10-25 00:30",
            "02:30 comes twice on 25 Oct: runs the first time only",
        ),
        (
            "2026-10-25T01:30Z",
            "2026-10-25 02:30+01:00",
            "2026-10-25 01:30",
            "02:30 comes twice on 25 Oct: runs the second time",
        ),
        (
            "2026-10-25 02:30+02:00",
            "2026-10-25 02:30",
            "2026-10-25 00:30",
            "02:30 comes twice on 25 Oct: runs the first time only",
        ),
    ],
)
def test_a_moment_is_by_the_clocks_of_its_zone(given: str, spec: str, slot: str, note: str) -> None:
    kind = read_kind("once", given, "Europe/Berlin")
    assert (kind.spec, kind.next_after(NOW - timedelta(days=1)), kind.note(utc(slot))) == (spec, utc(slot), note)
    assert kind.next_after(utc(slot)) is None
    assert read_kind("once", kind.spec, "Europe/Berlin").next_after(NOW - timedelta(days=1)) == utc(slot)


def test_a_moment_in_a_day_that_was_skipped_comes_when_the_next_begins() -> None:
    assert read_kind("once", "2011-12-30 09:00", "Pacific/Apia").next_after(utc("2011-01-01")) == utc(
        "2011-12-30 10:00"
    )


# Zones and previews


def test_a_zone_is_read_by_its_name() -> None:
    assert read_zone("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    assert read_zone("EST5EDT").key == "EST5EDT"


def test_a_preview_tells_what_a_change_of_the_clocks_does() -> None:
    kind = read_kind("cron", "30 2 * * *", "Europe/Berlin")

    runs = next_runs(kind, "Europe/Berlin", NOW, count=3)

    assert [(f"{run.local:%d %H:%M %z}", run.note, run.clocks_change) for run in runs] == [
        ("29 03:00 +0200", "02:30 does not exist on 29 Mar: runs at 03:00", True),
        ("30 02:30 +0200", "", False),
        ("31 02:30 +0200", "", False),
    ]


def test_a_slot_at_the_very_start_counts_and_none_before() -> None:
    kind = read_kind("cron", "0 * * * *", "UTC")
    runs = next_runs(kind, "UTC", NOW, start=utc("2026-04-01 00:00"), end=utc("2026-04-01 02:00"))
    assert [run.slot.hour for run in runs] == [0, 1, 2]


def test_a_preview_is_short_however_much_is_asked() -> None:
    assert len(next_runs(read_kind("interval", "1 second", "UTC"), "UTC", NOW, count=10**9)) == 50


def test_every_kind_says_in_words_what_it_does() -> None:
    specs = {"cron": "0 9 * * 1-5", "interval": "5 minutes", "once": "2026-12-24 18:00"}
    assert {kind: read_kind(kind, specs[kind], "UTC").describe() for kind in KINDS} == {
        "cron": "At 09:00, Monday through Friday",
        "interval": "Every 5 minutes",
        "once": "Once, on Thursday, 24 December 2026 at 18:00",
    }

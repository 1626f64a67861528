"""What people are told about a cron schedule: its description, its lints, the notes of its slots."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskq_django.schedules import read_kind

EITHER = "Day of month and day of week are both given: it fires when either of them matches."
OPEN_MINUTE = "The minute is open and the hour is not: it fires at every minute of each of its hours."


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("*/15 9-17 * * 1-5", "Every 15 minutes, between 09:00 and 17:59, Monday through Friday"),
        ("0 9 * * 7", "At 09:00, only on Sunday"),
        ("0 0 l * *", "At 00:00, on the last day of the month"),
        ("0 0 * * l5", "At 00:00, on the last Friday of the month"),
        ("@weekly", "At 00:00, only on Sunday"),
        # cron-descriptor says of these: every 90 minutes, every 15 minutes, every 2 weeks, every 2 days, Sunday
        # through Saturday, only on Monday, Monday through Friday.
        ("*/90 * * * *", "Every hour"),
        ("59/15 0 * * *", "At 00:59"),
        ("0 0 * * 6/2", "At 00:00, only on Saturday"),
        ("0 0 * * 7/2", "At 00:00, only on Sunday, Tuesday, Thursday, and Saturday"),
        ("0 0 */16 * 1", "At 00:00, on day 1 and 17 of the month, or on Monday"),
        ("0 0 1 * mon-wed", "At 00:00, on day 1 of the month, or on Monday, Tuesday, and Wednesday"),
        ("0 22-2/3 * * *", "At 01:00 and 22:00"),
        # It would not say which Monday.
        ("0 9 * * mon#1,tue#2", "0 9 * * mon#1,tue#2"),
    ],
)
def test_a_description_does_not_lie(spec: str, words: str) -> None:
    assert read_kind("cron", spec, "UTC").describe() == words


@pytest.mark.parametrize(
    ("spec", "lints"),
    [
        ("30 9 * * 1-5", []),
        ("*/15 * * * *", []),
        ("*/15 9-17 * * *", []),
        ("0 */2 * * *", []),
        ("0 0 31 1,12 *", []),
        ("0 0 28 * *", []),
        ("*/90 * * * *", ["*/90: a step of 90 leaves the first value only."]),
        ("59/15 * * * *", ["59/15: a step of 15 leaves the first value only."]),
        ("0 23/2 * * *", ["23/2: a step of 2 leaves the first value only."]),
        ("*/7 * * * *", ["*/7 begins anew each hour, with a shorter last step."]),
        ("0 */5 * * *", ["*/5 begins anew each day, with a shorter last step."]),
        ("0 0 */2 * *", ["*/2 begins anew each month, with a shorter last step."]),
        ("0 0 1 */5 *", ["*/5 begins anew each year, with a shorter last step."]),
        ("0 0 * * */2", ["*/2 begins anew each week, with a shorter last step."]),
        ("0 0 13 * 5", [EITHER]),
        ("0 0 1-31 * 5", [EITHER]),
        ("* 9 * * *", [OPEN_MINUTE]),
        ("*/1 9 * * *", [OPEN_MINUTE]),
        ("0 0 31 * *", ["Not all of its months have a day 31; L is the last day of each."]),
        ("0 0 30 1,feb *", ["Not all of its months have a day 30; L is the last day of each."]),
    ],
)
def test_a_lint_tells_what_may_not_be_meant_and_nothing_else(spec: str, lints: list[str]) -> None:
    assert list(read_kind("cron", spec, "UTC").lints()) == lints


@pytest.mark.parametrize(
    ("zone", "spec", "slot", "note"),
    [
        ("Europe/Berlin", "30 2 * * *", "2026-03-29 01:00", "02:30 does not exist on 29 Mar: runs at 03:00"),
        ("Europe/Berlin", "0 3 * * *", "2026-03-29 01:00", ""),
        ("Europe/Berlin", "0 * * * *", "2026-03-29 01:00", ""),
        ("Europe/Berlin", "30 2 * * *", "2026-03-30 00:30", ""),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25 00:30", "02:30 comes twice on 25 Oct: runs the first time only"),
        ("Europe/Berlin", "30 * * * *", "2026-10-25 00:30", "02:30 comes twice on 25 Oct: runs both times"),
        ("Europe/Berlin", "30 * * * *", "2026-10-25 01:30", "02:30 comes twice on 25 Oct: this is the second"),
        ("Europe/Berlin", "0 3 * * *", "2026-10-25 02:00", ""),
        ("Pacific/Apia", "0 9 * * *", "2011-12-30 10:00", "09:00 does not exist on 30 Dec: runs at 00:00"),
        ("America/Havana", "0 0 * * *", "2026-03-08 05:00", "00:00 does not exist on 8 Mar: runs at 01:00"),
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03 15:30", "02:15 does not exist on 4 Oct: runs at 02:30"),
    ],
)
def test_a_note_tells_what_a_change_of_the_clocks_does_to_a_slot(zone: str, spec: str, slot: str, note: str) -> None:
    kind = read_kind("cron", spec, zone)
    instant = datetime.fromisoformat(slot).replace(tzinfo=UTC)
    assert kind.note(instant) == note

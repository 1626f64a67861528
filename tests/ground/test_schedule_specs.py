"""What is no schedule is refused at once, by the right field, in words that help."""

from __future__ import annotations

import time
from typing import Any

import pytest

from taskq_django.schedules import SpecError, read_kind
from taskq_django.schedules.zones import zone_names

MOST_SECONDS = 0.05


def assert_refused(field: str, text: str, kind: Any, spec: Any, timezone: Any = "Europe/Berlin") -> None:
    zone_names()  # read from the disk once
    taken = []
    for _ in range(3):  # in one of them may fall an import, or a collection of what other tests have left
        started = time.process_time()
        with pytest.raises(SpecError, match=text) as caught:
            read_kind(kind, spec, timezone)
        taken.append(time.process_time() - started)
    assert min(taken) < MOST_SECONDS
    assert caught.value.field == field
    assert len(str(caught.value)) < 300


CRON = {
    "": "has five fields",
    "   ": "has five fields",
    "* " * 20_000: "at most 100 characters, not 40000",
    "1," * 500_000 + "1 * * * *": "at most 100 characters",
    "* * * *": "has 4 fields; it must have five",
    "* * * * * *": "has 6 fields; it must have five: .* Seconds are not a field",
    "0 0 * * * * 2030": "has 7 fields",
    "60 * * * *": "'60' is no minute: it is out of range, from 0 to 59",
    "61 * * * *": "out of range",
    "0 24 * * *": "'24' is no hour: it is out of range, from 0 to 23",
    "0 0 0 * *": "out of range, from 1 to 31",
    "0 0 1 13 *": "out of range, from 1 to 12",
    "0 0 * * 8": "out of range, from 0 to 7",
    "0 0 32W * *": "out of range",
    "0000 0 * * *": "out of range",
    "*/0 * * * *": "a step is 1 or more",
    "*/1000 * * * *": "it takes numbers, ranges and steps",
    "0 0 30 2 *": "never fires",
    "0 0 31 2,4,6,9,11 *": "never fires",
    "R": "has 1 field; it must have five",
    "H": "has 1 field",
    "R * * * *": "H and R, a time by chance, are not taken",
    "h * * * *": "H and R",
    "H/15 * * * *": "H and R",
    "0 H(0-7) * * *": "H and R",
    "0 0 r * *": "H and R",
    "@reboot": "'@reboot' is none of @hourly, @daily",
    "@every 5m": "is none of",
    "@": "is none of",
    "* *\n* * *": "one line of plain ASCII",
    "* * * * *\n": "one line of plain ASCII",
    "*\t* * * *": "one line of plain ASCII",
    "*\x00* * * *": "one line of plain ASCII",
    "*\u00a0* * * *": "one line of plain ASCII",
    "\u0663 * * * *": "one line of plain ASCII",
    "\uff11 * * * *": "one line of plain ASCII",
    "5-5 * * * *": "a range of one; write 5",
    "05-5 * * * *": "a range of one",
    "* * * jan-1 *": "a range of one",
    "* * * * 7-0": "a range of one",
    "* * * * Mon-mon": "a range of one; write Mon",
    "0 0 10 * 1#1": "need a \\* in the other field",
    "0 0 15W * 1": "need a \\*",
    "0 0 10 * L5": "need a \\*",
    "* * * * 1#6": "1#6' is no day of week",
    "* * * * 1#2,3": "does not support mixing",
    "0 0 1,15W * *": "'W' can only be used with a single day",
    "0 0 5L * *": "'5L' is no day of month: .* L \\(the last day\\)",
    "0 0 * * 5L": "'5L' is no day of week: .* L5 \\(the last Friday\\)",
    "* * * march *": "'march' is no month: .*feb, mar",
    "? * * * *": "is no minute",
    "*-5 * * * *": "is no minute",
    "-5 * * * *": "is no minute",
    "1-2-3 * * * *": "is no minute",
    "1,,2 * * * *": "is no minute",
    "1, * * * *": "is no minute",
    "1.5 * * * *": "is no minute",
    "${x} * * * *": "is no minute",
    "_1 * * * *": "is no minute",
    "* * * * <script>": "is no day of week",
}
INTERVALS = {
    "": "a number and a unit",
    "5": "a number and a unit",
    "-1 second": "a number and a unit",
    "0.001 s": "a number and a unit",
    "NaN": "a number and a unit",
    "1.5 hours": "a number and a unit",
    "inf days": "a number and a unit",
    "1e3 seconds": "'e' is no unit",
    "\u0663 days": "a number and a unit",
    "1" * 40 + " s": "a number and a unit",
    "1 d" * 50_000: "a number and a unit",
    "0 seconds": "at least 1 second",
    "1000000000 days": "a number and a unit|at most 3650 days",
    "3651 days": "at most 3650 days",
    "999999999999 weeks": "at most 3650 days",
    "5 ms": "'ms' is no unit: it is one of week, day",
    "1 month": "'month' is no unit",
}
MOMENTS = {
    "": "written like",
    "tomorrow": "written like",
    "18:00": "written like",
    "2026-02-30 10:00": "written like",
    "2026-12-24 25:00": "written like",
    "1.5e9": "written like",
    "\u0662\u0660\u0662\u0666-12-24": "written like",
    "2026-12-24 18:00" + " " * 100_000: "written like",
    "9999-12-31 23:59": "from 2000 to 9000",
    "9999-12-31 23:59-12:00": "from 2000 to 9000",
    "0001-01-01 00:00+14:00": "from 2000 to 9000",
    "1999-12-31 23:59": "from 2000 to 9000",
}
NO_ZONES = {
    "": "A right one is",
    "Mars/X": "A right one is",
    "../../etc/passwd": "A right one is",
    "/etc/localtime": "A right one is",
    "Europe": "A right one is|Did you mean",
    "+05:30": "A right one is",
    "localtime": "There is no time zone 'localtime'",
    "europe/berlin": 'Did you mean "Europe/Berlin"',
    "Europe/Berlin\n": 'Did you mean "Europe/Berlin"',
    "Europe/Berlin\x00": 'Did you mean "Europe/Berlin"',
    "Europe/" * 200_000: "A right one is",
}


@pytest.mark.parametrize("spec", CRON, ids=lambda spec: repr(spec[:20]))
def test_what_is_no_cron_expression_is_refused(spec: str) -> None:
    assert_refused("spec", CRON[spec], "cron", spec)


@pytest.mark.parametrize("spec", INTERVALS, ids=lambda spec: repr(spec[:20]))
def test_what_is_no_interval_is_refused(spec: str) -> None:
    assert_refused("spec", INTERVALS[spec], "interval", spec)


@pytest.mark.parametrize("spec", MOMENTS, ids=lambda spec: repr(spec[:20]))
def test_what_is_no_moment_is_refused(spec: str) -> None:
    assert_refused("spec", MOMENTS[spec], "once", spec)


@pytest.mark.parametrize("zone", NO_ZONES, ids=lambda zone: repr(zone[:20]))
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    assert_refused("timezone", NO_ZONES[zone], "cron", "0 0 * * *", zone)


@pytest.mark.parametrize(
    "value", [None, 5, 1.5, b"* * * * *", ["*"], {}, object(), True], ids=lambda value: type(value).__name__
)
def test_what_is_no_text_is_refused(value: Any) -> None:
    for kind in ("cron", "interval", "once"):
        assert_refused("spec", "is text, not", kind, value)
    assert_refused("timezone", "is text, not", "cron", "* * * * *", value)
    assert_refused("kind", "is text, not", value, "* * * * *")


@pytest.mark.parametrize("kind", ["", "solar", "CRON", "x" * 100_000], ids=lambda kind: repr(kind[:20]))
def test_what_is_no_kind_is_refused(kind: str) -> None:
    assert_refused("kind", "one of cron, interval, once", kind, "* * * * *")

"""The slots of cron schedules, against an oracle that looks at every minute.

TASKQ_TEST_LONG=1 has it look at every minute of all the years (ten minutes); else at the days around each
change of the clocks.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from taskq_django.schedules import Kind, SpecError, read_kind
from taskq_django.schedules.preview import slots_after
from tests.support.cron_oracle import Oracle, changes, slots

ZONES = [
    "America/New_York",
    "Europe/London",
    "Australia/Sydney",
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",
    "America/Havana",  # at midnight
    "Africa/Cairo",  # at midnight, and at the start of a Friday
    "Africa/Casablanca",  # a month each year, by the moon
    "Asia/Kathmandu",
    "UTC",
]
pytestmark = pytest.mark.once

FIRST_YEAR, LAST_YEAR = 2024, 2030
SPECS = [
    "30 2 * * *",
    "15 1,23 * * *",
    "0,30 0-3 * * *",
    "0 0 * * *",
    "*/20 1-2 * * *",
    "59-1 3-0/3 * * *",
    "0 * * * *",
    "*/30 * * * *",
    "30 */2 * * *",
    "45 2 * * fri-sun",
    "10 0,1,2,3 L,30 3,4,10,11 *",
    "30 */3 25-31 * 0",
    "20 1 * * 0#1",
    "5 *,3 1W * *",
]
LONG_RUN = bool(os.environ.get("TASKQ_TEST_LONG"))
LONG = pytest.mark.skipif(not LONG_RUN, reason="TASKQ_TEST_LONG is not set")


def assert_same(specs: list[str], zone: str, start: datetime, end: datetime) -> None:
    expected = slots([Oracle(spec) for spec in specs], ZoneInfo(zone), start, end)
    for spec, its_slots in zip(specs, expected, strict=True):
        kind = read_kind("cron", spec, zone)
        found = list(slots_after(kind, start, end=end))
        wrong = sorted(set(found) ^ set(its_slots))
        assert not wrong, f"{spec} in {zone}: {wrong[0]} is {'too much' if wrong[0] in found else 'missing'}"
        assert found == its_slots


@pytest.mark.parametrize("zone", ZONES)
def test_around_each_change_of_the_clocks_the_slots_are_those_of_the_oracle(zone: str) -> None:
    for change in changes_of(zone):
        assert_same(SPECS, zone, change - timedelta(days=2), change + timedelta(days=2))


@LONG
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("zone", ZONES)
def test_in_all_years_the_slots_are_those_of_the_oracle(zone: str) -> None:
    # From a day on which no clocks change to the next such.
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        assert_same(SPECS, zone, datetime(year, 1, 15, tzinfo=UTC), datetime(year + 1, 1, 15, tzinfo=UTC))


def items(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    value = st.integers(low, high).map(str) | st.sampled_from(names or (str(low),))
    spans = st.tuples(value, value).filter(lambda pair: pair[0] != pair[1]).map("-".join)
    step = st.integers(1, high + 3).map("/{}".format)
    return value | spans | st.tuples(spans | value | st.just("*"), step).map("".join)


def fields(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    return st.just("*") | st.lists(items(low, high, names), min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(
    fields(0, 59),
    fields(0, 23),
    fields(1, 31) | st.sampled_from(["*", "?", "L", "15,L", "1W", "15W", "W31"]),
    fields(1, 12, ("jan", "mar", "OCT")) | st.just("*"),
    fields(0, 7, ("sun", "Mon", "SAT")) | st.sampled_from(["*", "?", "1#1", "sun#5", "L6", "0#2,5#2"]),
).map(" ".join)


def read(spec: str, zone: str) -> Kind | SpecError:
    try:
        return read_kind("cron", spec, zone)
    except SpecError as error:
        return error


@pytest.mark.timeout(600)
@settings(max_examples=2000 if LONG_RUN else 40, deadline=None)
@given(spec=EXPRESSIONS, zone=st.sampled_from(ZONES), data=st.data())
def test_any_expression_has_the_slots_of_the_oracle(spec: str, zone: str, data: st.DataObject) -> None:
    kind = read(spec, zone)
    if isinstance(kind, SpecError):
        assert re.search(r"range of one|never fires|need a \*|at most 100", str(kind))
        reject()
    change = data.draw(st.sampled_from(changes_of(zone)))

    assert_same([spec], zone, change - timedelta(days=1, hours=3), change + timedelta(hours=15))


@lru_cache
def changes_of(zone: str) -> list[datetime]:
    return changes(ZoneInfo(zone), FIRST_YEAR, LAST_YEAR) or [datetime(2026, 3, 29, tzinfo=UTC)]


@settings(max_examples=200, deadline=None)
@given(spec=st.text("0123456789*,-/?#LWHRlw adefjmnostuy@", max_size=30) | EXPRESSIONS.map(lambda text: text[1:]))
def test_any_text_is_read_or_refused_with_a_spec_error(spec: str) -> None:
    kind = read(spec, "Europe/Berlin")
    if isinstance(kind, SpecError):
        assert kind.field == "spec"
        assert str(kind).endswith(".")
        return
    moment = datetime(2026, 3, 28, 12, tzinfo=UTC)
    slot = kind.next_after(moment)
    assert slot is not None
    assert slot > moment
    assert read_kind("cron", kind.spec, "Europe/Berlin").next_after(moment) == slot
    assert kind.describe()
    assert all(kind.lints())
    kind.note(slot)

"""What ``cron`` and ``every`` take, and how they refuse the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from taskq_django import cron, every
from taskq_django.exceptions import SpecError
from taskq_django.schedules.declaring import DeclaredSchedule, ScheduleOptions

NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001


def test_an_interval_is_given_in_units_or_as_a_timedelta() -> None:
    assert every(hours=1, minutes=30).spec == every(timedelta(minutes=90)).spec == "1 hour 30 minutes"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: every(), SpecError, "at least one"),
        (lambda: every(seconds=0.5), SpecError, "whole seconds"),
        (lambda: every("5 minutes"), SpecError, r"as every\(minutes=5\)"),
        (lambda: cron("61 * * * *"), SpecError, "out of range"),
        (lambda: cron("* * * * *", timezone="Berlin"), SpecError, 'Did you mean "Europe/Berlin"'),
        (lambda: cron("* * * * *", misfire="never"), SpecError, "skip, once, all"),
        (lambda: cron("* * * * *", start=NAIVE), SpecError, "with a time zone"),
        (lambda: cron("* * * * *", args=("north")), SpecError, "a list or a tuple, not of type str"),
        (lambda: cron("* * * * *", kwargs=["north"]), SpecError, "must be a dict"),
        (
            lambda: cron("* * * * *", misfires="all"),
            TypeError,
            r"cron\(\) has no option 'misfires'. Did you mean \"misfire\"",
        ),
        (lambda: every(minute=5), TypeError, r"every\(\) has no option 'minute'. Did you mean \"minutes\""),
        (lambda: cron("* * * * *", minutes=5), TypeError, r"cron\(\) has no option 'minutes'"),
        (lambda: every(minutes=5, spec="x"), TypeError, r"every\(\) has no option 'spec'"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(
    make: Callable[[], DeclaredSchedule], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_type_checkers_know_all_options_of_a_schedule() -> None:
    fields = DeclaredSchedule.__dataclass_fields__.keys() - {"kind", "spec"}
    assert ScheduleOptions.__annotations__.keys() == fields

"""What Django's error reports (the mail to ADMINS, a project's own) show of a task with secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.views.debug import ExceptionReporter

from taskq_django import signals, task
from taskq_django.testing import run_all

pytestmark = [pytest.mark.django_db, pytest.mark.once]

SECRET = "".join(["hun", "ter2"])  # a report shows lines of source too


def deeper(pin: Any, told: str) -> None:
    raise ConnectionError("no answer")


def charge(user: str, pin: Any, *rest: Any, **more: Any) -> None:
    told = f"for {user}"
    deeper(pin, told)


async def acharge(user: str, pin: Any, *rest: Any, **more: Any) -> None:
    told = f"for {user}"  # noqa: F841 - for the report
    raise ConnectionError("no answer")  # of what a coroutine calls Django cannot tell who has called it


def reported(error: BaseException) -> str:
    """As it is mailed: with the variables of every frame."""
    with override_settings(DEBUG=False):
        reporter = ExceptionReporter(None, type(error), error, error.__traceback__)
        frames = reporter.get_traceback_data()["frames"]
        shown = [
            f"{frame['function']} of {frame['filename']}: {name}"
            for frame in frames
            for name, value in frame["vars"]
            if SECRET in str(value)
        ]
        assert shown == []
        return reporter.get_traceback_html() + reporter.get_traceback_text()


CALLS: list[Callable[[Any], Any]] = [
    lambda each: each.enqueue("Ann", SECRET),
    lambda each: each.enqueue("Ann", pin={"deep": [SECRET]}),
    lambda each: each.enqueue("Ann", 1, SECRET),
    lambda each: each.enqueue("Ann", 1, other=SECRET),
]


@pytest.mark.parametrize("function", [charge, acharge])
@pytest.mark.parametrize("call", CALLS)
def test_a_run_that_fails_shows_none_to_who_reports_it(call: Callable[[Any], Any], function: Any) -> None:
    reports = []

    def report(exception: BaseException, **given: Any) -> None:
        reports.append(reported(exception))

    signals.run_failed.connect(report)
    call(task(function, sensitive=["pin", "rest", "more"]))
    run_all()
    signals.run_failed.disconnect(report)
    [text] = reports
    assert "no answer" in text
    assert SECRET not in text
    assert "for Ann" in text, "the rest is shown"


@pytest.mark.parametrize(("function", "line"), [(charge, "deeper(pin, told)"), (acharge, "raise ConnectionError")])
def test_a_traceback_has_no_frame_that_masks(function: Any, line: str) -> None:
    # The same names: Django keeps them by the function.
    result = task(function, sensitive=["pin", "rest", "more"]).enqueue("Ann", SECRET)
    run_all()
    result.refresh()
    text = result.errors[0].traceback
    assert "sensitive_variables" not in text
    assert line in text


def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    raise connection.Database.OperationalError("the disk is full")


def caught(call: Callable[[], Any]) -> BaseException:
    """What it raises, without the frames of this test, which have what they were given."""
    try:
        call()
    except Exception as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        return error.with_traceback(frames)
    raise AssertionError("it has raised nothing")


@pytest.mark.parametrize("how", ["enqueue", "many"])
@pytest.mark.parametrize("why", ["a store that refuses", "an argument that cannot be sent"])
def test_a_caller_whose_enqueue_fails_reports_none(how: str, why: str) -> None:
    wrong = {SECRET: object()} if why.startswith("an argument") else SECRET
    registered = task(charge, sensitive=["pin", "rest", "more"])
    call = {
        "enqueue": lambda: registered.enqueue("Ann", wrong),
        "many": lambda: registered.enqueue_many([("Ann", wrong)]),
    }[how]
    with connection.execute_wrapper(refuse):
        error = caught(call)
    text = reported(error)
    assert type(error).__name__ in text
    assert SECRET not in text

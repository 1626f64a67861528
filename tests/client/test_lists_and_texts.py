"""Where a list is meant, a text is refused with the remedy: it is an iterable of its characters."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_django import Backoff, cron, every, task
from taskq_django.compat import InvalidTask, task_backends
from taskq_django.exceptions import ArgumentError, SpecError
from taskq_django.models import QueuedJob
from taskq_django.testing import run_all
from tests.app import tasks

PATH = f"{__name__}.charge"


def charge(user: str, pin: str, *, amount: int = 0) -> None: ...


def starred(user: str, *more: str, **others: str) -> None: ...


def refused(options: dict[str, Any], function: Any = charge) -> str:
    with pytest.raises(InvalidTask) as error:
        task(**options)(function)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"sensitive": "pin"}, "sensitive=['pin']"),
        ({"sensitive": "user, pin"}, "sensitive=['user, pin']"),
        ({"sensitive": b"pin"}, "must be a list"),
        ({"sensitive": None}, "must be a list"),
        ({"sensitive": 3}, "must be a list"),
        ({"sensitive": str}, "must be a list"),
        ({"sensitive": {"pin": True}}, "must be a list"),
        ({"sensitive": [3]}, "must hold names of parameters, not 3"),
        ({"sensitive": ["pin", ""]}, "must hold names of parameters, not ''"),
        ({"sensitive": ["pin", ["user"]]}, "must hold names"),
        ({"aliases": "a.b"}, "aliases=['a.b']"),
        ({"aliases": [b"a.b"]}, "must hold paths of tasks"),
        ({"aliases": ["a.b", charge]}, "must hold paths of tasks"),
        ({"aliases": ["x" * 300]}, "must hold paths of tasks"),
        ({"retry_on": "ValueError"}, "retry_on=[ValueError]"),
        ({"retry_on": ValueError}, "retry_on=[ValueError]"),
        ({"retry_on": ["ValueError"]}, "must hold exception classes, not 'ValueError'"),
        ({"retry_on": [ValueError()]}, "must hold exception classes"),
        ({"retry_on": ValueError("x")}, "must be a list of exception classes"),
        ({"retry_on": [int]}, "must hold exception classes"),
        ({"retry_on": None}, "must be a list of exception classes"),
        ({"give_up_on": KeyError}, "give_up_on=[KeyError]"),
        ({"give_up_on": "KeyError"}, "give_up_on=[KeyError]"),
        ({"give_up_on": True}, "must be a list of exception classes"),
        ({"backoff": Backoff}, "write Backoff()"),
        ({"backoff": "exponential"}, "must be a Backoff or a function"),
        ({"metadata": "text"}, "metadata must be a dict"),
        ({"metadata": [("a", 1)]}, "metadata must be a dict"),
        ({"schedule": "0 3 * * *"}, "schedule must be cron(…) or every(…), or a list of these, not '0 3 * * *'"),
        ({"schedule": every}, "schedule must be cron(…)"),
        ({"schedule": None}, "schedule must be cron(…)"),
        ({"schedule": ["0 3 * * *"]}, "schedule must be cron(…)"),
        ({"schedulable": ["a.b"]}, "schedulable must be True, False or a permission"),
        ({"schedulable": None}, "schedulable must be True, False or a permission"),
        ({"schedulable": 1.5}, "schedulable must be True, False or a permission"),
        ({"rerun_on_crash": "no"}, "rerun_on_crash must be True or False, not 'no'"),
        ({"store_result": None}, "store_result must be True or False"),
    ],
)
def test_an_option_that_is_no_list_is_refused_with_the_remedy(options: dict[str, Any], remedy: str) -> None:
    text = refused(options)
    assert text.startswith(f"Task {PATH}: {next(iter(options))}")
    assert remedy in text


@pytest.mark.parametrize(
    "options",
    [
        {"sensitive": ("pin",)},
        {"sensitive": {"pin", "amount"}},
        {"sensitive": (name for name in ["user"])},
        {"retry_on": {ValueError}},
        {"retry_on": [], "give_up_on": frozenset([KeyError])},
        {"aliases": ["old", "old.path"]},
        {"schedule": (every(hours=1, args=("a", "b")) for _ in "1")},
    ],
    ids=["tuple", "set", "generator", "set of classes", "two", "list", "schedules"],
)
def test_any_other_iterable_is_a_list(options: dict[str, Any]) -> None:
    made = task(**options)(charge)
    assert all(isinstance(getattr(made, name), tuple) for name in options)
    assert made.using(priority=3).sensitive == made.sensitive


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (["pni"], "sensitive names 'pni', which is no parameter. Did you mean \"pin\"?"),
        (["pin", "amout"], 'Did you mean "amount"?'),
        (["PIN"], "It has user, pin, amount."),
        (["password"], "It has user, pin, amount."),
    ],
)
def test_a_name_in_sensitive_that_is_no_parameter_is_refused_with_the_nearest(names: list[str], remedy: str) -> None:
    assert remedy in refused({"sensitive": names})


def test_the_context_is_no_parameter_that_one_could_mask() -> None:
    def context_first(context: Any, pin: str) -> None: ...

    context_first.__qualname__ = "context_first"
    assert "no parameter" in refused({"sensitive": ["context"], "takes_context": True}, context_first)


def test_a_function_of_any_keywords_may_be_given_any_name() -> None:
    assert task(sensitive=["more", "others", "whatever"])(starred).sensitive == ("more", "others", "whatever")


# --- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ("ab", "must be a list, not a str: write enqueue_many([(1,), (2,)])"),
        (b"ab", "must be a list, not a bytes"),
        ({"x": 1}, "must be a list, not a dict"),
        (5, "must be a list, not a int"),
        (None, "must be a list, not a NoneType"),
        (["ab"], "Call 0, counted from 0, is a str"),
        ([(1,), "ab"], "Call 1, counted from 0, is a str"),
        ([1, 2], "Call 0, counted from 0, is a int. It must be a tuple of positional arguments"),
        ([b"ab"], "is a bytes"),
        ([{1, 2}], "is a set"),
        ([None], "is a NoneType"),
        ((n for n in [1]), "is a int"),
        ([(1,), {1: 2}], "Call 1 of 2"),
    ],
)
def test_calls_that_are_none_are_refused_and_nothing_is_sent(calls: Any, words: str) -> None:
    with pytest.raises(ArgumentError) as error:
        tasks.add.enqueue_many(calls)
    assert words in str(error.value)
    assert not QueuedJob.objects.exists()


@pytest.mark.django_db
def test_calls_of_every_right_form_are_sent() -> None:
    assert len(tasks.add.enqueue_many([(1,), [2, 3], {"x": 4}, {"x": 5, "y": 6}])) == 4
    assert len(tasks.add.enqueue_many(iter([(1,)]))) == 1
    assert len(tasks.add.enqueue_many([])) == 0


@pytest.mark.django_db
def test_the_text_of_one_id_is_no_list_of_ids() -> None:
    sent = tasks.add.enqueue(1)
    with pytest.raises(ArgumentError, match="for a single one call get_result"):
        task_backends["default"].get_results(sent.id)  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.parametrize("given", [{"queues": "default"}, {"backends": "default"}])
def test_the_name_of_one_queue_is_no_list_of_queues(given: dict[str, Any]) -> None:
    tasks.add.enqueue(1)
    with pytest.raises(ArgumentError, match=r"\('default',\)"):
        run_all(**given)
    assert run_all(queues=("default",), backends=("default",)) == 1


@pytest.mark.parametrize("args", ["ab", b"ab", 5, {"a"}])
def test_the_arguments_of_a_schedule_in_code_are_a_list(args: Any) -> None:
    for declare in (lambda: cron("@daily", args=args), lambda: every(hours=1, args=args)):
        with pytest.raises(SpecError, match="args must be a list or a tuple"):
            declare()

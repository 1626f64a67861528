"""Nasty inputs, by every broker on every database: each has one clean end, and costs no other job anything.

What does not reach a broker is tested where it is: options of tasks, settings, flags, cron expressions and forms.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from taskq_django import Retry, control, task
from taskq_django.brokers import Broker
from taskq_django.compat import InvalidTask, task_backends
from taskq_django.exceptions import ArgumentError, ConfigurationError
from taskq_django.results import Result
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.sending import job

USER = get_user_model()

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(60, func_only=True), pytest.mark.thorough]


def in_celerys_form(broker: Broker) -> bool:
    """Which has no word for some of our types."""
    return bool(task_backends["default"].taskq_options.celery_compatible)  # type: ignore[attr-defined]


def found(id_: str) -> Result[Any]:
    return task_backends["default"].get_result(id_)  # type: ignore[return-value]


def assert_that_others_run() -> None:
    """Nothing waits but this one, and it is run."""
    good = tasks.add.enqueue(20, 22)
    assert run_all() == 1
    assert good.get(timeout=0) == 42


def nested(depth: int) -> list[Any]:
    items: list[Any] = []
    for _ in range(depth - 1):
        items = [items]
    return items


def circular() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


# --- arguments --------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Any, str]] = [
    (object(), "of type object cannot be sent: pass an id"),
    (USER(pk=1), "(a model instance) cannot be sent: pass value.pk and load it in the task"),
    (USER._default_manager.all(), "(a QuerySet) cannot be sent: pass a list of primary keys"),
    ({1: "a", "1": "b"}, "is 1 of type int; keys must be str"),
    ([math.nan], "is nan"),
    (-math.inf, "is -inf"),
    (Decimal("NaN"), "is Decimal NaN"),
    ("a\0b", "has NUL in it"),
    ({"a\0": 1}, "has NUL in it"),
    ("\ud800", "has a lone surrogate"),
    (10**5000, "more than 4300 digits"),
    (nested(33), "deeper than 20"),
    (nested(100_000), "deeper than 20"),
    (circular(), "deeper than 20"),
    ("x" * (2 << 20), "arguments are 2.0 MiB, the limit is 1.0 MiB"),
    (["é" * 1000] * 600, "the limit is 1.0 MiB"),
    (lambda: 1, "of type function cannot be sent"),
    ((n for n in "ab"), "of type generator cannot be sent: pass a list"),
]


def test_what_cannot_travel_is_refused_at_the_caller_and_nothing_is_sent(project: Broker) -> None:
    for value, words in REFUSED:
        for enqueue in (tasks.echo.enqueue, lambda value: tasks.echo.enqueue_many([(1,), (value,)])):
            with pytest.raises(ArgumentError) as refusal:
                enqueue(value)
            assert words in str(refusal.value)
            assert len(str(refusal.value)) < 300
    for call in (tasks.add.enqueue, lambda: tasks.add.enqueue(1, 2, 3), lambda: tasks.add.enqueue(z=1)):
        with pytest.raises(TypeError, match=r"tests\.app\.tasks\.add.* cannot be enqueued like this"):
            call()  # type: ignore[operator]
    assert project.depth() == []
    assert_that_others_run()


PLAIN: list[Any] = [
    *(None, True, 0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, 5e-324, 1.7976931348623157e308, -0.0),
    *(
        "",
        " \t\n\r",
        "\x01\x1f\x7f\x85\u2028\ufeff\uffff\U0010ffff",
        "'; DROP TABLE x; --",
        "%s %(a)s {} \\",
        "\u202eabc",
    ),
    *([], {}, {"": {"": []}}, {"__type__": "x"}, nested(20), ["x" * 1000] * 1000, [0] * 100_000),
]
OF_OURS: list[Any] = [
    *(2**63, 2**64, 10**4299, -(10**4299), Decimal("1e-1000"), b"\0\xff", (1, (2,)), {1, "a"}, timedelta.min),
    *(
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        {"__type__": "x", "__value__": 1},
        {"$t": "int", "v": "5"},
    ),
    '{"$t":"int","v":"5"}',
]


def test_extremes_come_back_equal_and_of_their_type(project: Broker) -> None:
    values = PLAIN if in_celerys_form(project) else [*PLAIN, *OF_OURS]
    sent = tasks.echo.enqueue_many([(value,) for value in values])

    assert run_all() == len(values)

    for value, handle in zip(values, sent, strict=True):
        back = handle.get(timeout=0)
        assert (back, type(back)) == (value, type(value))
        assert repr(back) == repr(value) or isinstance(value, set)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "A b", "x" * 300, "a'; DROP TABLE x; --", "队列", "a\nb", "-x", "*", "a\0b", "\u202ea", 5]
)
def test_a_name_of_a_queue_is_plain_or_refused(project: Broker, name: Any) -> None:
    with pytest.raises(InvalidTask, match="is no queue name"):
        tasks.add.using(queue_name=name)
    for act in (control.pause, control.resume, control.purge, control.count_waiting):
        with pytest.raises(ConfigurationError, match="is no queue name"):
            act(name, project)
    assert project.depth() == []


@pytest.mark.parametrize("name", ["a'; DROP TABLE x; --", "队列", "*", "{a}", "%s", "a:b"])
def test_a_queue_that_another_hand_has_named_is_as_any_other(project: Broker, name: str) -> None:
    sent = job(queue_name=name)
    project.send([sent])

    assert [each.queue_name for each in project.depth()] == [name]
    assert run_all() == 1
    assert found(sent.id).state == "SUCCESSFUL"


@pytest.mark.parametrize("priority", [101, -101, "high", True, 1.5])
def test_a_priority_is_in_its_range_or_refused(project: Broker, priority: Any) -> None:
    with pytest.raises(InvalidTask, match="priority"):
        tasks.add.using(priority=priority)


@pytest.mark.parametrize(
    "run_after",
    [datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), timedelta(days=36_500), 36_500 * 86_400],
    ids=["the last year", "a hundred years", "in seconds"],
)
def test_a_far_future_waits(project: Broker, run_after: Any) -> None:
    sent = tasks.add.using(run_after=run_after).enqueue(1)

    assert run_all() == 0
    sent.refresh()
    assert sent.state == "SCHEDULED"
    assert sent.cancel()
    assert_that_others_run()


@pytest.mark.parametrize("run_after", [datetime(1, 1, 1, tzinfo=UTC), timedelta(days=-36_500), -1], ids=str)
def test_the_past_is_now(project: Broker, run_after: Any) -> None:
    sent = tasks.add.using(run_after=run_after).enqueue(1)

    assert run_all() == 1
    assert sent.get(timeout=0) == 3


NO_TIMES = [timedelta.max, timedelta.min, math.nan, math.inf, datetime(2030, 1, 1), "now"]  # noqa: DTZ001


@pytest.mark.parametrize("run_after", NO_TIMES, ids=str)
def test_what_is_no_time_is_refused(project: Broker, run_after: Any) -> None:
    with pytest.raises(InvalidTask, match="run_after"):
        tasks.add.using(run_after=run_after)


# --- ends -------------------------------------------------------------------------------------------------------------


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Demanding(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(code, reason)


def grouped(depth: int) -> Exception:
    error: Exception = ValueError("innermost")
    for _ in range(depth):
        error = ExceptionGroup("group", [error])
    return error


def its_own_cause() -> Exception:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def unawaited() -> Any:
    made.append(asyncio.sleep(0))
    return made[-1]


made: list[Any] = []  # for the test to close

ENDS: dict[str, tuple[Callable[[], Any], str]] = {
    "object": (object, "return value of type object cannot be stored"),
    "generator": (lambda: (n for n in "ab"), "of type generator cannot be stored: return a list"),
    "file": (lambda: sys.stdout, "cannot be stored: return its name or its content"),
    "coroutine": (unawaited, "of type coroutine cannot be stored: declare the task `async def`"),
    "model": (lambda: USER(pk=1), "(a model instance) cannot be stored: return its pk"),
    "NUL": (lambda: "a\0", "has NUL in it"),
    "surrogate": (lambda: "\ud800", "has a lone surrogate"),
    "nan": (lambda: math.nan, "is nan"),
    "large": (lambda: "x" * (20 << 20), "return value is at least 20.0 MiB > 1 MiB"),
    "silent": (lambda: Silent(), "(message unavailable)"),
    "loud": (lambda: ValueError("x" * 5_000_000), "characters left out"),
    "demanding": (lambda: Demanding(5, reason="\0\ud800"), "\\x00"),
    "deep group": (lambda: grouped(2000), "group"),
    "own cause": (its_own_cause, "first"),
    "exit": (lambda: SystemExit(0), "0"),
    "interrupt": (KeyboardInterrupt, ""),
    "forged": (lambda: ValueError("x\nERROR taskq_django failed"), "x\nERROR taskq_django failed"),
    "long retry": (lambda: Retry(delay="soon"), "a delay is a number of seconds or a timedelta"),  # type: ignore[arg-type]
}


@task
def come_to(end: str) -> Any:
    value = ENDS[end][0]()
    if isinstance(value, BaseException):
        raise value
    return value


def test_every_end_is_one_failure_of_that_job_alone(project: Broker) -> None:
    sent = {end: come_to.enqueue(end) for end in ENDS}

    assert run_all() == len(ENDS)

    for end, handle in sent.items():
        handle.refresh()
        assert handle.state == "FAILED", end
        assert ENDS[end][1] in handle.reason, end
        assert len(handle.reason) <= 2100, end
        assert len(handle.errors[-1].traceback) <= 65_000, end
    made.pop().close()
    assert_that_others_run()


# --- messages by another hand -----------------------------------------------------------------------------------------

PATHS = [
    *(
        "os.system",
        "antigravity.x",
        "builtins.eval",
        "subprocess.Popen",
        "tests.app.tasks.os",
        "tests.app.tasks.add.func",
    ),
    *(
        "django.core.management.commands.flush.Command",
        "taskq_django.testing.run_all",
        "tests.app.tasks",
        "nothing",
        "a..b",
    ),
    *(
        "../etc/passwd",
        "tests.app.late.nothing",
        "tests/app/late.py",
        "x\nERROR fake",
        "\x1b[31m.x",
        "\u202ex.y",
        "x" * 255,
    ),
]
FOR_OTHERS = "what this project does not have waits for workers of Celery"
PAYLOADS = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "null": "null",
    "deep": '[["' + "[" * 100_000 + '"],{}]',
    "deeper": "[[" + "[" * 100_000 + "]" * 100_000 + "],{}]",
    "many digits": f"[[{'9' * 4301}],{{}}]",
    "infinite": "[[1e400],{}]",
    "NaN": "[[NaN],{}]",
    "unknown tag": '[[{"$t":"os.system","v":"x"}],{}]',
    "pickle": '[[{"$t":"pickle","v":"gASVAAA="}],{}]',
    "wrong tag": '[[{"$t":"uuid","v":"x"}],{}]',
    "bomb": '[[{"$t":"int","v":"' + "9" * 100_000 + '"}],{}]',
    "empties": "[[" + ",".join(["{}"] * 300_000) + "],{}]",
    "surrogate": '[["\\ud800"],{}]',
    "too many": "[[1,2,3],{}]",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_runs_registered_tasks_and_imports_nothing_else(project: Broker, path: str) -> None:
    if in_celerys_form(project):
        pytest.skip(FOR_OTHERS)
    sent = job(task_path=path)
    known = set(sys.modules)
    project.send([sent])

    assert run_all() == 1

    result = found(sent.id)
    assert (result.state, result.errors[-1].exception_class_path.rpartition(".")[2]) == ("FAILED", "TaskNotFound")
    assert not {path, path.rpartition(".")[0]} & (set(sys.modules) - known)
    assert_that_others_run()


def test_a_payload_that_no_codec_has_written_is_one_failure(project: Broker) -> None:
    if in_celerys_form(project):
        pytest.skip("the form of Celery has its own readers: tests/brokers/test_celery_wire.py")
    sent = {name: job(task_path="tests.app.tasks.echo", payload=payload) for name, payload in PAYLOADS.items()}
    for each in sent.values():
        project.send([each])

    assert run_all() == len(sent)

    for name, each in sent.items():
        result = found(each.id)
        assert result.state == ("SUCCESSFUL" if name == "deep" else "FAILED"), name
        assert len(result.reason) <= 2100, name
    assert_that_others_run()


@pytest.mark.parametrize(
    "headers", ["{", "[]", "5", '{"metadata":5}', '{"sensitive":5}', '{"schedule":"x"}', "{" * 5000]
)
def test_headers_by_another_hand_cost_a_job_nothing(project: Broker, headers: str) -> None:
    if in_celerys_form(project):
        pytest.skip("they are a part of the message, and written by kombu")
    sent = job(headers=headers)
    project.send([sent])

    assert run_all() == 1

    assert (found(sent.id).state, found(sent.id).return_value) == ("SUCCESSFUL", 3)


def test_what_is_logged_of_a_job_begins_no_line_and_moves_no_cursor(
    project: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    if in_celerys_form(project):
        pytest.skip(FOR_OTHERS)
    name = "x\nERROR fake\x1b[2J\u202e\x85\u2028"
    project.send([job(task_path=name)])

    with caplog.at_level(logging.INFO, "taskq_django"):
        run_all()

    (record,) = [
        each for each in caplog.records if each.name.startswith("taskq_django") and "failed" in each.getMessage()
    ]
    first_line = record.getMessage().split("\n")[0]
    assert first_line.isprintable()
    assert "x\\nERROR fake\\x1b[2J" in first_line
    assert "run=" in first_line

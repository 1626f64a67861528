"""``taskq_enqueue``: one job, of what was typed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from taskq_django import Discard, signals
from taskq_django.compat import task_backends
from taskq_django.management.typed_call import read_call
from taskq_django.models import JobResult, QueuedJob
from taskq_django.testing import run_all
from tests.app import signatures, tasks
from tests.app.signatures import Colour, Point

pytestmark = pytest.mark.django_db

ADD = "tests.app.tasks.add"


def enqueue(*arguments: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    call_command("taskq_enqueue", *arguments)
    return capsys.readouterr().out.splitlines()


def refused(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as error:
        call_command("taskq_enqueue", *arguments)
    assert not QueuedJob.objects.exists()
    return error.value


# --- what is typed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "typed", "args", "kwargs"),
    [
        (tasks.echo, ["value=1"], [], {"value": 1}),
        (tasks.echo, ["value=[1, null, true]"], [], {"value": [1, None, True]}),
        (tasks.echo, ["value=hello world"], [], {"value": "hello world"}),
        (tasks.echo, ['value="1"'], [], {"value": "1"}),
        (tasks.echo, ["value="], [], {"value": ""}),
        (tasks.echo, ["value=a=b"], [], {"value": "a=b"}),
        (tasks.echo, ["value=NaN"], [], {"value": "NaN"}),
        (tasks.echo, ["2 = 2"], ["2 = 2"], {}),
        (tasks.add, ["1", "y=-2"], [1], {"y": -2}),
        (signatures.starred, ["1", "2", "3", "flag=true", "more=x"], [1, 2, 3], {"flag": True, "more": "x"}),
        (signatures.positional, ["1", "7", "keyword=2"], [1, "7"], {"keyword": 2}),
        (signatures.with_context, ["5"], [5], {}),
        (signatures.optional, ["null", "label=null"], [None], {"label": None}),
        (signatures.optional, ["1", "label=2"], [1], {"label": "2"}),
        (signatures.unresolvable, ["order=3", "x=4"], [], {"order": 3, "x": 4}),
        (signatures.collections, ["[1]", '{"a": 2}', '{"x": 1}', "x", "2"], [[1], {"a": 2}, Point(1), "x", 2], {}),
        (signatures.plain, ["1"], [1], {}),
    ],
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else None,
)
def test_a_value_is_what_its_parameter_says_or_json_or_text(
    given: Any, typed: list[str], args: list[Any], kwargs: dict[str, Any]
) -> None:
    assert read_call(given, typed) == (args, kwargs)


def test_what_json_has_no_word_for_is_read_by_the_annotation() -> None:
    typed = {
        "whole": "1", "text": "007", "yes": "True", "amount": "1.50", "day": "2030-12-24",
        "moment": "2030-12-24T18:00:00+00:00", "clock": "07:30", "ident": "01a22c63-6077-74a2-bcbe-e44b9f573594",
        "size": "small", "colour": "b", "ratio": "2",
    }  # fmt: skip

    _, kwargs = read_call(signatures.typed, [f"{name}={value}" for name, value in typed.items()])

    assert kwargs == {
        "whole": 1,
        "text": "007",
        "yes": True,
        "amount": Decimal("1.50"),
        "day": date(2030, 12, 24),
        "moment": datetime.fromisoformat("2030-12-24T18:00:00+00:00"),
        "clock": time(7, 30),
        "ident": UUID("01a22c63-6077-74a2-bcbe-e44b9f573594"),
        "size": "small",
        "colour": Colour.BLUE,
        "ratio": 2.0,
    }


@pytest.mark.parametrize(
    ("path", "typed", "why"),
    [
        (ADD, ["x=one"], "x must be of the type int, and 'one' is not."),
        (ADD, ["1", "y=1.5"], "y must be of the type int, and '1.5' is not."),
        (ADD, ["x=1", "x=2"], "x is given twice."),
        (ADD, ["x=1", "z=2"], "'z'"),
        (ADD, [], "'x'"),
        (ADD, ["1", "2", "3"], "too many positional arguments"),
        ("tests.app.signatures.typed", ["day=tomorrow"], "day must be of the type date, and 'tomorrow' is not."),
        ("tests.app.signatures.typed", ["yes=maybe"], "yes must be of the type bool"),
        ("tests.app.signatures.typed", ["colour=green"], "'colour' does not fit its annotation"),
        ("tests.app.tasks.echo", ["value=\0"], "value"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_the_name_of_its_parameter(
    path: str, typed: list[str], why: str
) -> None:
    assert why in str(refused(path, *typed))


# --- taskq_enqueue ----------------------------------------------------------------------------------------------------


def test_the_id_alone_is_printed_and_the_job_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [id_] = enqueue(ADD, "x=1", "y=5", capsys=capsys)

    assert run_all() == 1
    assert task_backends["default"].get_result(id_).return_value == 6


def test_flags_say_where_and_when(capsys: pytest.CaptureFixture[str]) -> None:
    enqueue("--queue", "mail", ADD, "--priority", "-5", "1", "--delay", "3600", "y=5", capsys=capsys)

    job = QueuedJob.objects.get()
    assert (job.queue_name, job.rank, job.status) == ("mail", 5, "SCHEDULED")
    assert timedelta(minutes=59) < job.available_at - job.enqueued_at < timedelta(minutes=61)


def test_only_a_registered_task_can_be_enqueued() -> None:
    near = str(refused("tests.app.tasks.ad", "1"))
    assert near.startswith('No task is registered as "tests.app.tasks.ad". Did you mean "tests.app.tasks.add"?')
    for path in ("os.system", "tests.app.tasks.os", "subprocess.run", "nonsense", ""):
        assert "No task is registered" in str(refused(path, "true"))


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--queue", "no queue"], "is no queue name"),
        (["--priority", "101"], "--priority"),
        (["--delay", "-1"], "--delay"),
        (["--backend", "nope"], "TASKS has no backend 'nope'"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused(flags: list[str], why: str) -> None:
    assert why in str(refused(ADD, "1", *flags))


def test_what_keeps_no_result_cannot_be_waited_for() -> None:
    assert "store_result=False" in str(refused("tests.app.tasks.forgettable", "--wait"))


@pytest.fixture
def veto() -> Iterator[None]:
    def refuse(**kwargs: Any) -> None:
        raise Discard("not on Sundays")

    signals.before_enqueue.connect(refuse)
    yield
    signals.before_enqueue.disconnect(refuse)


def test_a_veto_is_told(veto: None) -> None:
    assert "not on Sundays" in str(refused(ADD, "1"))
    assert JobResult.objects.get().status == "CANCELLED"


@pytest.mark.django_db(transaction=True)
def test_a_wait_that_is_over_exits_with_a_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="has not ended after 0 s") as over:
        call_command("taskq_enqueue", ADD, "1", "--wait", "--timeout", "0")

    assert over.value.returncode == 3
    assert str(QueuedJob.objects.get().id) == capsys.readouterr().out.strip()

"""What a store, a module or a setting refuses costs the one job that it is about."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.db import DataError, OperationalError, transaction
from django.test import override_settings

from taskq_django.compat import FRAMEWORK, task_backends
from taskq_django.exceptions import BrokerError, TaskNotFound
from taskq_django.jobs import Outcome, Retried, Succeeded
from taskq_django.models import JobResult, QueuedJob
from taskq_django.registry import registry
from taskq_django.states import State
from taskq_django.testing import run_all
from taskq_django.worker.finisher import WITHOUT_TEXTS
from taskq_django.worker.logs import configure_logs
from taskq_django.worker.rescue import Death, rescue
from tests.app import tasks
from tests.support.holding import answers_again, finishing, holding

ROOT = Path(__file__).parents[2]


REFUSED = f'"{"x" * 5_000}"'


def of_postgresql(state: str) -> OperationalError:
    error = OperationalError("the server says no")
    error.__cause__ = type("DriversError", (Exception,), {"sqlstate": state})()
    return error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "error",
    [
        # MariaDB raises for these what it raises for a server that is gone.
        OperationalError(1153, "the server says no"),
        OperationalError(4035, "the server says no"),
        of_postgresql("54000"),  # over a limit of the server
        of_postgresql("53200"),  # over its memory
        of_postgresql("XX000"),  # over the size of one allocation
        DataError("the server says no"),
        OverflowError("the server says no"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "the server says no"),
    ],
    ids=["packet", "JSON", "limit", "memory", "allocation", "data", "number", "surrogate"],
)
def test_an_outcome_that_a_database_refuses_is_no_outage(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    dialect = type(task_backends["default"].broker.dialect)  # type: ignore[attr-defined]
    real = dialect.end
    sizes = []

    def end(self: Any, cursor: Any, outcomes: Sequence[Outcome], over: bool = False) -> set[str]:
        sizes.append(len(outcomes))
        if any(isinstance(outcome, Succeeded) and outcome.value == REFUSED for outcome in outcomes):
            raise error
        done: set[str] = real(self, cursor, outcomes, over)
        return done

    monkeypatch.setattr(dialect, "end", end)
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    finisher = finishing(broker)
    tasks.echo.enqueue_many([(str(number),) for number in range(64)])
    refused, *others = broker.claim(["default"], 64, "w1")
    held = holding([refused, *others])
    finisher.take(Succeeded(refused, 0.0, 0.0, REFUSED))
    for claim in others:
        finisher.take(Succeeded(claim, 0.0, 0.0, '"kept"'))
    assert finisher.flush(held, 100)

    assert (held, finisher.stale) == ({}, 0)
    ended = {str(row.pk): row for row in JobResult.objects.all()}
    assert ended[refused.job.id].status == State.FAILED
    assert "the server says no" in ended[refused.job.id].message
    assert {ended[claim.job.id].return_value for claim in others} == {'"kept"'}
    assert len(sizes) < 20  # halves, and not each alone


@pytest.mark.django_db(transaction=True)
def test_a_server_that_has_no_memory_for_anything_is_an_outage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker = task_backends["default"].broker  # type: ignore[attr-defined]

    def end(*args: object) -> None:
        raise of_postgresql("53200")

    finisher = finishing(broker)
    tasks.echo.enqueue_many([(number,) for number in range(8)])
    held = holding(broker.claim(["default"], 8, "w1"))
    for claim in held.values():
        finisher.take(Succeeded(claim, 0.0, 0.0, REFUSED))
    with monkeypatch.context() as patched:
        patched.setattr(type(broker.dialect), "end", end)
        finisher.flush(held, 100)
    assert "the server says no" in caplog.text
    assert len(held) == finisher.aside == 8
    answers_again(finisher)
    assert finisher.flush(held, 100)
    assert (held, JobResult.objects.filter(status=State.SUCCESSFUL).count()) == ({}, 8)


@pytest.mark.django_db(transaction=True)
def test_a_failure_that_a_database_refuses_ends_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = type(task_backends["default"].broker.dialect)  # type: ignore[attr-defined]
    real = dialect.record_failures

    def record_failures(self: Any, cursor: Any, outcomes: Sequence[Any], worker_id: str) -> None:
        if any(outcome.failure.message == "'missing'" for outcome in outcomes):
            raise DataError("the server says no")
        real(self, cursor, outcomes, worker_id)

    monkeypatch.setattr(dialect, "record_failures", record_failures)
    refused, other = tasks.explode.enqueue(), tasks.add.enqueue(1)
    assert run_all() == 2
    refused.refresh()
    assert (refused.state, "the server says no" in refused.reason) == (State.FAILED, True)
    assert other.get() == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("refuses", ["the rescue", "the reason too", "its end"])
def test_a_rescue_survives_what_a_database_refuses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refuses: str
) -> None:
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    tasks.echo.enqueue_many([(number,) for number in range(8)])
    held = broker.claim(["default"], 8, "dead")
    refused, real = held[3].job.id, type(broker.dialect).record_failures

    def record_failures(self: Any, cursor: Any, outcomes: Sequence[Any], worker_id: str) -> None:
        for outcome in outcomes:
            is_taken = {
                "the rescue": not isinstance(outcome, Retried),
                "the reason too": outcome.failure.message == WITHOUT_TEXTS,
                "its end": False,
            }
            if outcome.claim.job.id == refused and not is_taken[refuses]:
                raise DataError("the server says no")
        real(self, cursor, outcomes, worker_id)

    monkeypatch.setattr(type(broker.dialect), "record_failures", record_failures)
    death = Death(cause="signal SIGKILL", begun={claim.job.id for claim in held})

    assert rescue(broker, "dead", death, "heir") == (7 if refuses == "its end" else 8)

    assert QueuedJob.objects.filter(status=State.READY).count() == 7
    if refuses != "its end":
        said = "the server says no" if refuses == "the rescue" else WITHOUT_TEXTS
        assert said in JobResult.objects.get(id=refused, status=State.FAILED).message
    else:
        assert f"Nor can job {refused} end as FAILED" in caplog.text
        assert [claim.job.id for claim, _ in broker.orphans("heir")["dead"]] == [refused]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("error", [of_postgresql("54000"), OperationalError(1153, "the server says no")], ids=str)
def test_jobs_that_a_database_refuses_are_refused_at_the_caller(
    monkeypatch: pytest.MonkeyPatch, error: Exception, in_transaction: bool
) -> None:
    def insert(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(type(task_backends["default"].broker.dialect), "insert", insert)  # type: ignore[attr-defined]
    with (
        transaction.atomic() if in_transaction else nullcontext(),
        pytest.raises(BrokerError, match=r"the server says no.*pass a key"),
    ):
        tasks.echo.enqueue_many([("x",), ("y",)])


def test_a_module_that_exits_is_a_task_that_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tests.app

    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n\n@task\ndef anything(): ...")
    monkeypatch.setattr(tests.app, "__path__", [*tests.app.__path__, str(tmp_path)])
    with pytest.raises(TaskNotFound, match="SystemExit"):
        registry.find("tests.app.exits.anything")


def test_errors_of_the_framework_come_through_where_they_are_mailed() -> None:
    framework = logging.getLogger(FRAMEWORK)
    before = framework.level
    try:
        with override_settings(DEBUG=False):
            configure_logs("text", 1)
        assert (framework.isEnabledFor(logging.ERROR), framework.isEnabledFor(logging.INFO)) == (True, False)
        with override_settings(DEBUG=True):
            configure_logs("text", 1)
        assert not framework.isEnabledFor(logging.ERROR)
    finally:
        framework.setLevel(before)


def test_tasks_that_an_app_before_ours_imports_are_ours_all_the_same(tmp_path: Path) -> None:
    app = tmp_path / "early"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "apps.py").write_text(
        "from django.apps import AppConfig\nfrom . import tasks\n\nclass Early(AppConfig):\n    name = 'early'\n"
    )
    (app / "tasks.py").write_text("from taskq_django import task\n\n@task\ndef add(x): return x + 1\n")
    (tmp_path / "early_settings.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['early.apps.Early', 'taskq_django']\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'early.sqlite3'}}\n"
    )
    script = (
        "import django; django.setup()\nfrom django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\nfrom early.tasks import add\nsent = add.enqueue(1)\n"
        "assert sent.state == 'READY', sent\nfrom taskq_django.testing import run_all\nassert run_all() == 1\n"
        "assert sent.get() == 2\n"
    )
    paths = f"{tmp_path}:{ROOT}"
    subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": paths, "DJANGO_SETTINGS_MODULE": "early_settings", "PATH": ""},
        cwd=tmp_path,
        check=True,
    )

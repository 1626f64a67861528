"""What a store, a module or a setting refuses costs the one job that it is about."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.test import override_settings

from taskq_django.compat import FRAMEWORK, task_backends
from taskq_django.exceptions import TaskNotFound
from taskq_django.jobs import Outcome, Succeeded
from taskq_django.registry import registry
from taskq_django.states import State
from taskq_django.testing import run_all
from taskq_django.worker.logs import configure_logs
from tests.app import tasks

ROOT = Path(__file__).parents[2]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", [1153, 4035], ids=["too big a packet", "broken JSON"])
def test_an_outcome_that_mariadb_refuses_is_no_outage(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    # MariaDB raises for these what it raises for a server that is gone.
    dialect = type(task_backends["default"].broker.dialect)  # type: ignore[attr-defined]
    real = dialect.end

    def end(self: Any, cursor: Any, outcomes: Sequence[Outcome]) -> set[str]:
        if any(isinstance(outcome, Succeeded) and outcome.value == '"refused"' for outcome in outcomes):
            raise OperationalError(code, "the server says no")
        done: set[str] = real(self, cursor, outcomes)
        return done

    monkeypatch.setattr(dialect, "end", end)
    refused, others = tasks.echo.enqueue("refused"), [tasks.echo.enqueue(str(n)) for n in range(3)]
    assert run_all() == 4
    refused.refresh()
    assert (refused.state, f"{code}" in refused.reason) == (State.FAILED, True)
    assert [other.get() for other in others] == ["0", "1", "2"]


def test_a_module_that_exits_is_a_task_that_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tests.app

    (tmp_path / "exits.py").write_text("raise SystemExit(3)")
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

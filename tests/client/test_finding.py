"""Where the tasks of a project are looked for, and where not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from taskq_django.registry import registry
from taskq_django.testing import run_all

pytestmark = [pytest.mark.django_db, pytest.mark.once]
Write = Callable[[str, str], None]

TASK = "from taskq_django import every, task\n\n@task{}\ndef send() -> str:\n    return __name__\n"
NAMES = ("market", "services", "jobs", "uploads", "library")


@pytest.fixture
def project(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a file of a project whose settings are in ``market``, and that has an app of this name."""
    monkeypatch.syspath_prepend(str(tmp_path / "installed/site-packages"))
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    monkeypatch.syspath_prepend(str(tmp_path / "project"))
    monkeypatch.setattr(registry, "unloaded", [])

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()

    write("project/market/__init__.py", "")
    settings.SETTINGS_MODULE = "market.settings"
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "market"]
    settings.MEDIA_ROOT = str(tmp_path / "project/uploads/media")
    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
        del sys.modules[name]


def run_elsewhere(module: str) -> Any:
    """Enqueue ``send`` of it here, and run it as in a process that has not imported it."""
    job = importlib.import_module(module).send.enqueue()
    del sys.modules[module]
    del registry._tasks[f"{module}.send"]
    run_all()
    job.refresh()
    return job


@pytest.mark.parametrize(
    "path",
    [
        "services/mail.py",
        "services/deep/mail.py",
        "jobs.py",
        "market/jobs.py",
        "market/tasks/mail.py",
    ],
)
@pytest.mark.parametrize("is_package", [True, False])
def test_a_task_of_the_projects_own_code_is_found(project: Write, path: str, is_package: bool) -> None:
    for folder in list(Path(path).parents)[:-1]:
        if is_package:
            project(f"project/{folder}/__init__.py", "")
    project(f"project/{path}", TASK.format(""))
    module = path.removesuffix(".py").replace("/", ".")
    assert run_elsewhere(module).return_value == module


@pytest.mark.parametrize(
    "path",
    ["elsewhere/library/mail.py", "installed/site-packages/library/mail.py", "project/uploads/media/mail.py"],
)
def test_other_code_is_not_imported_because_a_job_names_it_and_the_reason_is_said(project: Write, path: str) -> None:
    project(path, TASK.format(""))
    module = ".".join(Path(path).with_suffix("").parts[path.count("installed") + 1 :])
    job = run_elsewhere(module)
    assert job.errors[0].exception_class.__name__ == "TaskNotFound"
    assert "Its module is not looked for" in job.errors[0].traceback
    assert "import it in the tasks.py of an app" in job.errors[0].traceback
    assert module not in sys.modules


@pytest.mark.parametrize("path", ["this.s", "antigravity.x", "tests.app.gone.x", "nowhere.x", "__main__.x", ".x", "x"])
def test_what_is_no_task_of_the_project_is_not_imported(project: Write, path: str) -> None:
    known = set(sys.modules)
    assert registry.seek(path) is None
    assert not {"this", "antigravity"} & (set(sys.modules) - known)


def test_all_modules_of_a_tasks_package_are_imported_at_the_start(project: Write) -> None:
    project("project/market/tasks/__init__.py", "")
    project("project/market/tasks/reports.py", TASK.format("(schedule=every(minutes=5))"))
    project("project/market/tasks/nightly/__init__.py", "")
    project("project/market/tasks/nightly/bills.py", TASK.format("(schedule=every(hours=5))"))
    project("project/market/tasks/needy.py", "import a_library_that_is_not_there\n")
    project("project/market/tasks/rude.py", TASK.format("(schedule=every(hours=6))") + "\nraise KeyError('MAIL_KEY')\n")
    project("project/market/tasks/tests/test_reports.py", "raise AssertionError('is of tests')\n")
    project("project/market/tasks/test_bills.py", "raise AssertionError('is of tests')\n")

    registry.discover()

    declared = {task.module_path for task in registry.all() if task.schedule}
    assert {"market.tasks.reports.send", "market.tasks.nightly.bills.send"} <= declared
    assert "market.tasks.rude.send" not in declared
    said = [message.msg for message in run_checks(tags=["taskq_django"]) if message.id == "taskq_django.W015"]
    assert "market.tasks.needy cannot be imported: ModuleNotFoundError" in said[0]
    assert "market.tasks.rude cannot be imported: KeyError" in said[1]

"""A stored path finds tasks, and runs nothing else: not even the module that it names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

import tests.app
from taskq_django.exceptions import TaskNotFound
from taskq_django.models import JobAttempt
from taskq_django.registry import registry
from taskq_django.testing import run_all
from tests.app import tasks

pytestmark = pytest.mark.once

TASK = "from taskq_django import task\n"


class LateModules:
    """Modules of the app that tell in a file that they were run."""

    def __init__(self, folder: Path) -> None:
        self._package, self._log = folder / folder.name, folder / "ran"
        self.write("__init__.py", "")

    def write(self, file: str, code: str) -> str:
        path = self._package / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"with open({str(self._log)!r}, 'a') as log:\n    log.write(__name__ + '\\n')\n{code}")
        return f"tests.app.{self._package.name}.{file.removesuffix('.py').replace('/', '.')}"

    @property
    def ran(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LateModules]:
    monkeypatch.setattr(tests.app, "__path__", [*tests.app.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield LateModules(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "code",
    [
        "@task\ndef work(): ...",
        "@task\nasync def work(): ...",
        "@task(\n    max_attempts=3,\n)\ndef work(): ...",
        "import django\nif django.VERSION:\n    @task\n    def work(): ...",
        "try:\n    import nothing\nexcept ImportError:\n    @task\n    def work(): ...",
        "def ours(f):\n    return task(f)\n\n@ours\ndef work(): ...",
    ],
)
def test_a_task_is_found_in_a_module_that_nobody_has_imported(late: LateModules, code: str) -> None:
    module = late.write("late.py", TASK + code)

    assert registry.find(f"{module}.work").module_path == f"{module}.work"
    assert late.ran == [module.removesuffix(".late"), module]


@pytest.mark.parametrize(
    "code",
    [
        "",
        "def work(): ...",
        "class work: ...",
        "work = print",
        "from tests.app.tasks import add as work",
        "class Command:\n    @property\n    def work(self): ...",
        "def outer():\n    @staticmethod\n    def work(): ...",
        "# @task\n# def work(): ...",
        "text = '''\n@task\ndef work(): ...\n'''",
    ],
)
def test_a_module_without_such_a_task_is_not_run(late: LateModules, code: str) -> None:
    module = late.write("late.py", code)

    with pytest.raises(TaskNotFound, match="No task is registered as"):
        registry.find(f"{module}.work")
    assert registry.seek(f"{module}.work") is None
    assert late.ran == []


@pytest.mark.parametrize("file", ["management/commands/wipe.py", "migrations/0001_initial.py", "__init__.py", "a/b.py"])
def test_neither_is_a_package_on_the_way(late: LateModules, file: str) -> None:
    if "/" in file:
        late.write(f"{file.partition('/')[0]}/__init__.py", "")
    module = late.write(file, "def handle(): ...")

    for path in (f"{module}.handle", module, f"{module}.nowhere.handle", f"{module}..handle"):
        with pytest.raises(TaskNotFound):
            registry.find(path)
    assert late.ran == []


def test_a_module_that_cannot_be_read_says_why(late: LateModules) -> None:
    module = late.write("late.py", f"{TASK}@task\ndef work(: ...")

    with pytest.raises(TaskNotFound, match="cannot be imported: SyntaxError"):
        registry.find(f"{module}.work")
    assert module not in late.ran


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "antigravity.x",
        "django.core.management.commands.flush.handle",
        "taskq_django.testing.run_all",
        "math.pi",
    ],
)
def test_no_module_is_imported_for_the_path_of_something_else(path: str) -> None:
    known = set(sys.modules)
    with pytest.raises(TaskNotFound):
        registry.find(path)
    assert set(sys.modules) == known


# --- exceptions -------------------------------------------------------------------------------------------------------


def stored_error(path: str) -> Any:
    sent = tasks.explode.enqueue()
    run_all()
    JobAttempt.objects.filter(job_id=sent.id).update(exception_class=path)
    return tasks.explode.get_result(sent.id).errors[0]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["antigravity.x", "this.x", "nothing.x", "nothing", "", "a..b"])
def test_the_name_of_an_exception_imports_nothing(path: str) -> None:
    error = stored_error(path)
    known = set(sys.modules)

    with pytest.raises(ImportError, match="is not imported in this process"):
        assert error.exception_class
    assert set(sys.modules) == known


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["os.system", "tests.app.tasks.add"])
def test_the_name_of_what_is_no_exception_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="does not reference a valid exception"):
        assert stored_error(path).exception_class


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [KeyError, ImproperlyConfigured, tasks.Unspeakable])
def test_the_class_of_an_exception_is_found_where_it_is_imported(kind: type[Exception]) -> None:
    error = stored_error(f"{kind.__module__}.{kind.__qualname__}")
    assert error.exception_class is kind

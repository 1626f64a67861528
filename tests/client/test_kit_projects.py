"""A project of its own, whose jobs wait in services that are not there, tests itself with the kit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]

# A port where nobody answers.
SETTINGS = """
INSTALLED_APPS += ["taskq_django", "shop"]
OURS = "taskq_django.TaskqBackend"
TASKS = {
    "default": {"BACKEND": OURS, "OPTIONS": {"broker": "redis://:secret@127.0.0.1:1/0", "outbox": True}},
    "mail": {
        "BACKEND": OURS,
        "QUEUES": ["mail"],
        "OPTIONS": {"broker": "sentinel://127.0.0.1:1", "transport_options": {"master_name": "m"}, "max_payload": 2048},
    },
}
"""

TASKS = """
from django.db import transaction
from taskq_django import task

@task
def add(x: int, y: int = 2) -> int:
    return x + y

@task(backend="mail", queue_name="mail")
def send(to: str) -> None:
    add.enqueue(len(to))

def checkout():
    with transaction.atomic():
        transaction.on_commit(lambda: send.enqueue("me"))
"""

WITH_PYTEST = """
import pytest
from django.conf import settings
from taskq_django.exceptions import PayloadTooLarge
from shop.tasks import add, checkout, send

@pytest.mark.parametrize("number", range(8))
def test_enqueued(taskq, number):
    add.enqueue(number)
    taskq.assert_enqueued(add, args=(number,), times=1)
    assert taskq.run_all() == 1

def test_on_commit(taskq):
    with taskq.capture_on_commit():
        checkout()
    taskq.assert_enqueued(send, args=("me",), queue_name="mail")
    assert taskq.run_all() == 2

@pytest.mark.django_db(transaction=True)
def test_commit(taskq):
    checkout()
    assert taskq.run_all() == 2
    assert taskq.perform(add, 1) == 3

def test_limits_stay(taskq):
    with pytest.raises(PayloadTooLarge):
        send.enqueue("x" * 4096)

def test_without_the_kit_the_settings_are_the_projects():
    assert settings.TASKS["default"]["OPTIONS"]["outbox"]
"""

WITH_UNITTEST = """
from django.test import TestCase, TransactionTestCase
from taskq_django.testing import TaskqTestMixin, run_all
from shop.tasks import add, checkout, send

class ShopTests(TaskqTestMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.job = add.enqueue(1)

    def test_on_commit(self):
        with self.taskq.capture_on_commit():
            checkout()
        self.taskq.assert_enqueued(send, args=("me",))
        self.assertEqual(run_all(), 3)
        self.assertEqual(self.job.get(timeout=0), 3)

    async def test_async(self):
        await add.aenqueue(5)
        await self.taskq.aassert_enqueued(add, args=(5,), times=1)
        self.assertEqual(await self.taskq.aperform(add, 5), 7)

class CommitTests(TaskqTestMixin, TransactionTestCase):
    def test_commit(self):
        checkout()
        self.taskq.assert_enqueued(send)
        self.assertEqual(self.taskq.run_all(), 2)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("project")
    run(home, "-m", "django", "startproject", "site1", ".")
    with (home / "site1/settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (home / "shop").mkdir()
    for name, text in {"__init__": "", "tasks": TASKS, "tests": WITH_UNITTEST}.items():
        (home / f"shop/{name}.py").write_text(text)
    (home / "test_shop.py").write_text(WITH_PYTEST)
    (home / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = site1.settings\npython_files = test_*.py\n")
    return home


def run(home: Path, *arguments: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "TASKQ_", "PYTEST_"))}
    env["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


PYTEST = ("-m", "pytest", "-p", "taskq_django.pytest_plugin", "-q")


def test_pytest_in_four_processes_needs_no_service(project: Path) -> None:
    assert "15 passed" in run(project, *PYTEST, "-n", "4", "test_shop.py", "shop/tests.py")


def test_manage_py_test_needs_no_service(project: Path) -> None:
    said = run(project, "manage.py", "test")
    assert "Ran 3 tests" in said
    assert "OK" in said


def test_the_plugin_alone_loads_no_django(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert not [name for name in sys.modules if name.split('.')[0] == 'django']\n"
    )
    assert "1 passed" in run(tmp_path, *PYTEST, "-p", "no:django", "-p", "no:xdist", "-p", "no:randomly")

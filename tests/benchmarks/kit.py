"""What the kit costs: a thousand tests that enqueue, beside the same with the Dummy backend of django.tasks.

``python -m tests.benchmarks.kit [tests] [rounds]``. Seconds of the processor, because those of the clock count what
else the machine does; of each suite the best round. SQLite in memory, as a new project has it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

SETTINGS = """
SECRET_KEY = "for tests only"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "taskq_django", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "unused"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""

BACKENDS = {
    "dummy": 'TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}',
    "kit": "",
    "kit, and TASKS names Redis": """
TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": {"broker": "redis://127.0.0.1:1"}}}
""",
}

TASKS = """
from taskq_django import task

@task
def charge(order: int, amount: int = 1) -> int:
    return order
"""

DUMMY = """
import pytest
from django.contrib.auth.models import Group
from django.tasks import default_task_backend
from shop.tasks import charge

@pytest.mark.parametrize("number", range({tests}))
def test_enqueued(db, number):
    default_task_backend.clear()
    Group.objects.create(name="a")
    charge.enqueue(number, amount=2)
    [result] = default_task_backend.results
    assert (result.args, result.kwargs) == ([number], {{"amount": 2}})
"""

KIT = """
import pytest
from django.contrib.auth.models import Group
from shop.tasks import charge

@pytest.mark.parametrize("number", range({tests}))
def test_enqueued(taskq, number):
    Group.objects.create(name="a")
    charge.enqueue(number, amount=2)
    taskq.assert_enqueued(charge, args=(number,), kwargs={{"amount": 2}}, times=1)
"""


def made(home: Path, name: str, tests: int) -> Path:
    place = home / name.split()[0].strip(",") / str(len(name))
    (place / "shop").mkdir(parents=True)
    texts = {
        "conf.py": SETTINGS + BACKENDS[name],
        "shop/__init__.py": "",
        "shop/tasks.py": TASKS,
        "test_it.py": (DUMMY if name == "dummy" else KIT).format(tests=tests),
        "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = conf\n",
    }
    for path, text in texts.items():
        (place / path).write_text(text)
    return place


def seconds(place: Path) -> float:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "TASKQ_", "PYTEST_"))}
    plugins = ("-p", "taskq_django.pytest_plugin", "-p", "no:xdist", "-p", "no:randomly", "-p", "no:cacheprovider")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "-q", *plugins]
    subprocess.run(command, cwd=place, env=env | {"PYTHONPATH": f"{ROOT}"}, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(tests: int = 1000, rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory() as home:
        places = {name: made(Path(home), name, tests) for name in BACKENDS}
        best = {name: float("inf") for name in places}
        for _ in range(rounds):  # in turns, so that a change of the machine meets all
            for name, place in places.items():
                best[name] = min(best[name], seconds(place))
    for name, spent in best.items():
        print(f"{name:30} {spent:6.2f} s  {spent / best['dummy']:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

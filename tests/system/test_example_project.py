"""The example project, and the demo, which the README has run there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from taskq_django.compat import FRAMEWORK
from taskq_django.management.commands.taskq_demo import made_user
from taskq_django.models import JobResult, QueuedJob, Schedule
from tests.app import tasks
from tests.support.workers import ROOT, RealWorker

pytestmark = pytest.mark.processes


def manage(*arguments: str, database: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "TASKQ_"))}
    env |= {"PYTHONPATH": str(ROOT), "EXAMPLE_DATABASE": str(database)}
    command = [sys.executable, str(ROOT / "example_project/manage.py"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=database.parent)


def test_it_has_no_faults(tmp_path: Path) -> None:
    for command in (["check", "--fail-level", "WARNING"], ["makemigrations", "--check", "--dry-run"]):
        done = manage(*command, database=tmp_path / "db.sqlite3")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)  # three commands, one after the other
def test_the_demo_shows_each_kind_of_job_and_says_how_to_look_at_them(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    assert manage("migrate", "-v", "0", database=database).returncode == 0

    done = manage("taskq_demo", "--user", "demo", "--timeout", "600", database=database)

    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        r"SUCCESSFUL +greet +1 attempt",
        r"SUCCESSFUL +copy_rows +1 attempt",
        r"SUCCESSFUL +call_service +2 attempts",
        r"FAILED +read_page +1 attempt, .* KeyError, as it should",
        r"SUCCESSFUL +tidy_up +1 attempt",
        r"manage\.py runserver",
        r"http://localhost:8000/admin/taskq_django/dashboard/",
        r"user demo, password \S{12}",
        r"manage\.py taskq_worker --beat",
    ):
        assert re.search(line, done.stdout), line
    assert len(done.stdout.splitlines()) <= 14

    known = manage("taskq_tasks", database=database).stdout
    assert "library.tasks.index_file" in known
    assert "demo" not in known, "a project would be offered the demo's tasks"


@pytest.mark.django_db
def test_the_demo_gives_its_user_a_password_once_and_changes_none_that_is_there() -> None:
    password = made_user("demo").rpartition(" ")[2]
    user = User.objects.get(username="demo")
    assert user.is_superuser
    assert user.check_password(password)
    assert "changepassword demo" in made_user("demo")
    user.refresh_from_db()
    assert user.check_password(password)


class RealDemo(RealWorker):
    command = "taskq_demo"


@pytest.fixture
def start_demo(transactional_db: None) -> Iterator[Callable[..., RealWorker]]:
    """Of the project of the tests, whose DEBUG is off."""
    started: list[RealWorker] = []

    def start(*flags: str, env: dict[str, str] | None = None) -> RealWorker:
        started.append(RealDemo(*flags, env=env))
        return started[-1]

    yield start
    for demo in started:
        demo.stop()


def test_the_demo_runs_no_job_of_the_project_and_makes_no_user(start_demo: Callable[..., RealWorker]) -> None:
    waiting = tasks.add.enqueue(1)
    demo = start_demo("--force", "--timeout", "600")
    assert demo.wait(110) == 0, demo.output
    assert "createsuperuser" in demo.output
    waiting.refresh()
    assert (waiting.state, QueuedJob.objects.count()) == ("READY", 1)
    assert {row.queue_name for row in JobResult.objects.all()} == {"demo"}
    assert Schedule.objects.get(name="taskq_demo").max_runs


@pytest.mark.django_db
def test_the_demo_is_refused_where_debug_is_off() -> None:
    with pytest.raises(CommandError, match="--force"):
        call_command("taskq_demo")
    assert not QueuedJob.objects.exists()
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ({"BACKEND": "taskq_django.TaskqBackend", "QUEUES": ["default"]}, "Add the queue there"),
        ({"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"}, "TASKS['default'], which is no backend"),
    ],
    ids=["queue", "backend"],
)
def test_the_demo_says_what_it_lacks_in_tasks(
    backend: dict[str, Any],
    said: str,
    start_demo: Callable[..., RealWorker],
    settings_with: Callable[..., dict[str, str]],
) -> None:
    demo = start_demo("--force", env=settings_with(TASKS={"default": backend}))
    assert demo.wait(110) == 1
    assert said in demo.output
    assert "Traceback" not in demo.output
    assert not Schedule.objects.exists()

"""A new project with one line for Redis: what ``manage.py check`` and the first commands say, right and wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sending import unused_name

if TYPE_CHECKING:
    from tests.support.redis_servers import Redis

pytestmark = [pytest.mark.once]

Manage = Callable[..., "subprocess.CompletedProcess[str]"]
WITHOUT_THE_EXTRA = 'import sys; sys.modules["kombu"] = sys.modules["redis"] = None'
REMEDY = 'pip install "taskq-django[redis]"'


def project(url: str) -> dict[str, Any]:
    options = {"broker": url, "name": unused_name()}
    return {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": options}}


def in_words(done: subprocess.CompletedProcess[str]) -> str:
    """What was said, which is no traceback."""
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "geheim" not in text
    return text


@pytest.fixture
def url(redis_server: Redis) -> str:
    return redis_server.url


def test_a_right_one_has_no_issue_and_runs_a_job(manage: Manage, url: str) -> None:
    tasks = project(url)
    assert manage("migrate", TASKS=tasks).returncode == 0
    for command in (["check"], ["check", "--database", "default"], ["check", "--deploy", "--tag", "taskq_django"]):
        assert "no issues" in in_words(manage(*command, TASKS=tasks))

    assert manage("shell", stdin="from shop.tasks import add; add.enqueue(1)", TASKS=tasks).returncode == 0
    assert "default/default                         1" in in_words(manage("taskq_status", TASKS=tasks))
    assert "Ready." in in_words(manage("taskq_worker", "--burst", "-p", "0", "--no-reload", TASKS=tasks))
    assert "successful 1" in in_words(manage("taskq_status", TASKS=tasks))


@pytest.mark.parametrize(
    ("wrong", "id_", "text"),
    [
        ("reddis://:geheim@localhost", "E004", 'Did you mean "redis"?'),
        ("sqs://geheim@", "E004", "gives a job to a second worker"),
        ("redis://:geheim@localhost:port/0", "E004", ""),
    ],
)
def test_a_wrong_url_is_an_error_of_check(manage: Manage, wrong: str, id_: str, text: str) -> None:
    done = manage("check", TASKS=project(wrong))
    assert done.returncode == 1
    assert f"taskq_django.{id_}" in in_words(done)
    assert text in done.stderr


def test_a_refused_password_is_an_error_where_the_database_is_checked(manage: Manage, url: str) -> None:
    tasks = project(url.replace("//", "//:geheim@"))
    manage("migrate", "--skip-checks", TASKS=tasks)

    done = manage("check", "--database", "default", TASKS=tasks)

    assert done.returncode == 1
    assert "taskq_django.E021" in in_words(done)
    assert "refuses the user or the password" in done.stderr
    assert "refuses the user or the password" in in_words(manage("taskq_worker", "--burst", "--no-reload", TASKS=tasks))


def test_a_server_that_is_down_is_a_warning_there(manage: Manage) -> None:
    tasks = project("redis://:geheim@127.0.0.1:1/0")
    done = manage("check", "--database", "default", TASKS=tasks)
    assert done.returncode == 0
    assert "taskq_django.W014" in in_words(done)
    assert "is the server up, and its address right?" in done.stderr


@pytest.mark.parametrize("command", ["check", "migrate", "taskq_status", "taskq_worker", "taskq_beat"])
def test_a_missing_extra_is_an_error_that_says_what_to_type(manage: Manage, url: str, command: str) -> None:
    done = manage(command, before=WITHOUT_THE_EXTRA, TASKS=project(url))
    assert done.returncode == 1
    assert REMEDY in in_words(done)


def test_without_the_extra_who_enqueues_is_told_what_to_type(manage: Manage, url: str) -> None:
    code = "from shop.tasks import add; add.enqueue(1)"
    done = manage("shell", stdin=code, before=WITHOUT_THE_EXTRA, TASKS=project(url))
    assert REMEDY in done.stderr.strip().splitlines()[-1]

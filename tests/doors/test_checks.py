"""System checks: each mistake is one message with its remedy, and no traceback."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any, ClassVar

import django
import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.db import connections
from django.db.models import Model
from pytest_django import Settings

from taskq_django import checks, every, task
from taskq_django.backend import TaskqBackend
from taskq_django.checks.configuration import check_backends
from taskq_django.checks.databases import check_servers
from taskq_django.compat import task_backends
from taskq_django.conf.declaration import spelled_span
from taskq_django.registry import registry

OURS = "taskq_django.TaskqBackend"


class ProjectBackend(TaskqBackend):
    """A project's own subclass."""


def found(tag: str = checks.TAG) -> list[tuple[str, str]]:
    return [(message.id or "", text_of(message)) for message in run_checks(tags=[tag])]


def text_of(message: CheckMessage) -> str:
    return f"{message.msg} {message.hint or ''}"


def tasks(**params: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": OURS}, "fast": {"BACKEND": OURS, **params}}


@pytest.fixture(autouse=True)
def right_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without those that other tests declare, with their schedules.
    mine = {path: each for path, each in registry._tasks.items() if path.startswith("tests.app.tasks.")}
    monkeypatch.setattr(registry, "_tasks", mine)
    settings.TASKQ = {}
    settings.TASKS = tasks()


def test_right_settings_have_no_message() -> None:
    call_command("check", fail_level="WARNING", tags=[checks.TAG], stdout=StringIO())
    assert found() == []


def test_a_typo_in_taskq_is_one_error_with_the_nearest_name(settings: Settings) -> None:
    settings.TASKQ = {"WORKER": {"THREDS": 4}}

    [(check, text)] = found()

    assert check == "taskq_django.E002"
    assert 'TASKQ["WORKER"] has no key "THREDS". Did you mean "THREADS"?' in text


@pytest.mark.django_db(databases=["default", "other"])  # some checks of Django itself connect
@pytest.mark.parametrize("backend", [OURS, f"{__name__}.ProjectBackend"])
def test_a_typo_in_options_is_one_error_with_the_nearest_name(settings: Settings, backend: str) -> None:
    settings.TASKS = tasks(BACKEND=backend, OPTIONS={"brokr": "database://"})

    [(check, text)] = [
        (message.id, text_of(message)) for message in run_checks() if (message.id or "").startswith("taskq_django")
    ]

    assert check == "taskq_django.E002"
    assert 'TASKS["fast"]["OPTIONS"] has no key "brokr". Did you mean "broker"?' in text


def test_options_of_another_backend_are_not_ours_to_judge(settings: Settings) -> None:
    settings.TASKS = {
        "default": {"BACKEND": "elsewhere.Backend", "OPTIONS": {"x": 1}, "QUEUES": "x"},
        "odd": None,
        "empty": {},
    }

    assert check_backends() == []


@pytest.mark.parametrize("configured", [None, [], "x"])
def test_settings_that_are_not_ours_raise_nothing(settings: Settings, configured: object) -> None:
    settings.TASKS = configured

    assert check_backends() == []


@pytest.mark.parametrize(
    ("queues", "text"),
    [
        ("mail", 'is "mail" (str); it must be a list of queue names.'),
        (None, "is None; it must be a list"),
        (["mail", "a b"], '"a b" is no queue name'),
        (["mail", ""], '"" is no queue name'),
        ([3], "3 is no queue name"),
    ],
)
def test_wrong_queues_are_an_error(settings: Settings, queues: object, text: str) -> None:
    settings.TASKS = tasks(QUEUES=queues)

    [message] = check_backends()

    assert message.id == "taskq_django.E007"
    assert message.msg.startswith('TASKS["fast"]["QUEUES"]')
    assert text in message.msg


@pytest.mark.parametrize("queues", [[], ["default"], ("a", "b"), {"a"}])
def test_right_queues_pass(settings: Settings, queues: object) -> None:
    settings.TASKS = tasks(QUEUES=queues)

    assert check_backends() == []


@pytest.mark.parametrize("path", ["taskq_django.TaskqBakend", "taskq_djano.TaskqBackend", "taskq_django.backends.X"])
def test_a_misspelt_backend_is_named_with_ours(settings: Settings, path: str) -> None:
    settings.TASKS = {"default": {"BACKEND": path}}

    [message] = check_backends()

    assert message.id == "taskq_django.E008"
    assert f'Did you mean "{OURS}"?' in message.msg


def test_django_52_without_the_backport_is_told_what_to_install_and_nothing_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TASKS = tasks(QUEUES="mail")
    monkeypatch.setattr(django, "VERSION", (5, 2, 0, "final", 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    [(check, text)] = found()

    assert check == "taskq_django.E009"
    assert 'pip install "taskq-django[django52]"' in text


def test_two_tasks_of_one_path_are_an_error_that_names_both_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "duplicates", [("app.tasks.send", "app/tasks.py:3", "app/tasks.py:9")])

    [(check, text)] = found()

    assert check == "taskq_django.E010"
    assert "app.tasks.send is taken twice: at app/tasks.py:3 and at app/tasks.py:9." in text


def test_a_database_that_is_not_supported_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
    # Of the connection itself: MySQL's remembers there what it has said.
    monkeypatch.setitem(vars(connections["default"]), "display_name", "Oracle")

    [(check, text), *_] = found()

    assert check == "taskq_django.E011"
    assert 'DATABASES["default"], which is Oracle' in text
    assert "postgresql" in text


def in_database(name: str) -> dict[str, Any]:
    return {"BACKEND": OURS, "OPTIONS": {"broker": f"database://{name}"}}


class Routes:
    """A project's router, with a home for each of our models by name."""

    homes: ClassVar[dict[str, str]] = {}
    migrates: ClassVar[bool | None] = None

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return self.homes.get(model.__name__)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return self.migrates


@pytest.mark.parametrize(
    ("homes", "broker", "text"),
    [
        ({"JobResult": "other"}, "default", 'JobProgress to "default", JobResult to "other"'),
        ({"QueuedJob": "other"}, "", 'JobProgress to "default", JobResult to "default"'),
    ],
)
def test_jobs_and_results_that_would_part_are_an_error(
    homes: dict[str, str], broker: str, text: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Routes, "homes", homes)
    settings.TASKS = {"default": in_database(broker)}
    settings.DATABASE_ROUTERS = [f"{__name__}.Routes"]

    [(check, message)] = found()

    assert check == "taskq_django.E012"
    assert text in message


@pytest.mark.parametrize(
    "routers", [["taskq_django.DatabaseRouter"], ["taskq_django.DatabaseRouter", f"{__name__}.Routes"]]
)
def test_our_router_keeps_jobs_and_results_together(routers: list[str], settings: Settings) -> None:
    settings.TASKS = {"default": in_database("other")}
    settings.DATABASE_ROUTERS = routers

    assert found() == []


def test_a_database_without_our_tables_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Routes, "migrates", False)
    settings.TASKS = {"default": {"BACKEND": OURS}}
    settings.DATABASE_ROUTERS = [f"{__name__}.Routes"]

    [(check, text)] = found()

    assert check == "taskq_django.E013"
    assert 'DATABASES["default"], where your routers let migrate make no tables of it.' in text


@pytest.mark.parametrize(
    "configured", [{"far": in_database("other")}, {"default": {"BACKEND": OURS}, "far": in_database("other")}]
)
def test_jobs_where_the_admin_does_not_look_are_a_warning(configured: dict[str, Any], settings: Settings) -> None:
    settings.TASKS = configured

    [(check, text)] = found()

    assert check == "taskq_django.W001"
    assert 'TASKS["far"] keeps its jobs in DATABASES["other"], where the admin does not look.' in text
    assert 'DATABASE_ROUTERS = ["taskq_django.DatabaseRouter"]' in text


@pytest.mark.parametrize(("level", "ids"), [("read committed", []), ("repeatable read", ["taskq_django.W002"])])
def test_an_isolation_level_that_blocks_is_a_warning(
    level: str, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", "mysql")
    monkeypatch.setitem(connections["default"].settings_dict["OPTIONS"], "isolation_level", level)

    assert [check for check, _ in found()] == ids


def test_a_server_that_is_too_old_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(vendor="mysql", mysql_is_mariadb=True, mysql_version=(10, 5, 9))
    monkeypatch.setattr(checks.databases, "connections", {"default": old})

    assert run_checks(tags=["database"], databases=[]) == []
    [message] = [m for m in check_servers(databases=["default"]) if m.id == "taskq_django.E014"]
    assert message.msg == 'DATABASES["default"] must be at least MariaDB 10.6 (it is 10.5.9) to hold jobs.'


@pytest.mark.django_db
def test_the_server_of_these_tests_is_new_enough() -> None:
    assert check_servers(databases=["default"]) == []


def test_a_backend_whose_app_is_not_installed_says_so(settings: Settings) -> None:
    settings.INSTALLED_APPS = []

    [message] = task_backends["default"].check()

    assert message.id == "taskq_django.E015"
    assert 'Add "taskq_django" to INSTALLED_APPS.' in (message.hint or "")


def planned(region: str) -> None: ...


@pytest.mark.parametrize(
    ("schedules", "text"),
    [
        ([every(hours=1)], "missing a required argument: 'region'"),
        ([every(hours=1, kwargs={"region": object()})], "region"),
        ([every(hours=1, args=["north"], priority=1000)], "priority"),
        ([every(hours=1, args=["north"], max_runs=0)], "max_runs"),
        ([every(hours=1, args=["north"], backend="nowhere")], "nowhere"),
        ([every(hours=1, args=["a"], name="one"), every(hours=2, args=["b"], name="one")], "another schedule in code"),
    ],
    ids=["missing", "type", "priority", "max_runs", "backend", "name"],
)
def test_a_wrong_schedule_in_code_is_an_error(monkeypatch: pytest.MonkeyPatch, schedules: Any, text: str) -> None:
    monkeypatch.setattr(registry, "_tasks", {})
    task(schedule=schedules)(planned)
    [(id_, message)] = found()
    assert id_ == "taskq_django.E016"
    assert text in message
    assert f"{__name__}.planned" in message


def test_a_right_schedule_in_code_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_tasks", {})
    task(schedule=every(hours=1, args=["north"], max_runs=3, backend="fast", queue_name="mail"))(planned)
    assert found() == []


@pytest.mark.parametrize("alias", ["default", "other"])
def test_a_database_without_autocommit_is_an_error_where_jobs_are(settings: Settings, alias: str) -> None:
    settings.TASKS = {"default": {"BACKEND": OURS, "OPTIONS": {"broker": f"database://{alias}"}}}
    other = "other" if alias == "default" else "default"
    for database, expected in ((alias, ["taskq_django.E018"]), (other, [])):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(connections[database].settings_dict, "AUTOCOMMIT", False)
            messages = [(id_, text) for id_, text in found() if not id_.endswith("W001")]
            assert [id_ for id_, _ in messages] == expected
            assert all(f'DATABASES["{alias}"]' in text and "atomic()" in text for _, text in messages)


@pytest.mark.skipif(connections["default"].vendor != "sqlite", reason="about SQLite only")
@pytest.mark.parametrize(
    ("options", "is_warned"),
    [
        ({}, False),
        ({"init_command": "PRAGMA journal_mode=WAL;"}, True),
        ({"init_command": "pragma JOURNAL_MODE = wal", "transaction_mode": "DEFERRED"}, True),
        ({"init_command": "PRAGMA journal_mode=WAL;", "transaction_mode": "IMMEDIATE"}, False),
        ({"init_command": "PRAGMA journal_mode=WAL;", "transaction_mode": "exclusive"}, False),
    ],
)
def test_a_wal_whose_transactions_do_not_wait_is_a_warning(
    options: dict[str, str], is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    assert [id_ for id_, _ in found()] == ["taskq_django.W010"] * is_warned


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("OPTION", 'Did you mean "OPTIONS"?'),
        ("options", 'Did you mean "OPTIONS"?'),
        ("ENQUEUE_ON_COMMIT", "Its keys are"),
    ],
)
def test_an_unknown_key_of_an_alias_is_an_error(settings: Settings, key: str, remedy: str) -> None:
    settings.TASKS = tasks(**{key: {"broker": "redis://h"}})

    [(check, text)] = found()

    assert (check, f'TASKS["fast"] has no key "{key}"' in text, remedy in text) == ("taskq_django.E002", True, True)


@pytest.mark.parametrize("name", ["KEEP_SUCCESSES", "KEEP_FAILURES"])
@pytest.mark.parametrize(("kept", "said"), [(14, "14 s"), (3599, "3599 s"), (timedelta(minutes=5), "300 s")])
def test_results_that_are_kept_for_less_than_an_hour_are_a_warning(
    settings: Settings, name: str, kept: Any, said: str
) -> None:
    settings.TASKQ = {"RESULTS": {name: kept}}

    [(check, text)] = found()

    assert check == "taskq_django.W016"
    assert f'TASKQ["RESULTS"]["{name}"] is {said}:' in text
    assert "timedelta(days=14)" in text


@pytest.mark.parametrize("kept", [3600, timedelta(days=14), None])
def test_results_that_are_kept_for_longer_are_none(settings: Settings, kept: Any) -> None:
    settings.TASKQ = {"RESULTS": {"KEEP_SUCCESSES": kept}}
    assert found() == []


def test_a_span_is_shown_as_people_say_it(settings: Settings) -> None:
    settings.TASKQ = {"RESULTS": {"KEEP_SUCCESSES": "14"}}
    [(_, text)] = found()
    assert "Default: 14 days." in text
    assert [spelled_span(seconds) for seconds in (86_400, 7200, 90, 0.25)] == ["1 day", "2 hours", "90 s", "0.25 s"]


@pytest.mark.parametrize("patterns", [["*"], ["tests.app.tasks.add"], ["tests.app.*", "*.add"]])
def test_patterns_that_fit_a_task_are_right(settings: Settings, patterns: list[str]) -> None:
    settings.TASKQ = {"ADMIN": {"SCHEDULABLE": patterns}}
    assert found() == []


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [("tests.app.task.add", 'Did you mean "tests.app.tasks.add"?'), ("nowhere.*", "by their whole path"), ("add", "")],
)
def test_a_pattern_that_fits_no_task_is_a_warning(settings: Settings, pattern: str, remedy: str) -> None:
    settings.TASKQ = {"ADMIN": {"SCHEDULABLE": ["tests.app.tasks.echo", pattern]}}

    [(check, text)] = found()

    assert (check, f'has "{pattern}"' in text, remedy in text) == ("taskq_django.W017", True, True)


@pytest.mark.parametrize("permission", ["taskq_django.change_schedule", "auth.view_user"])
def test_a_permission_of_a_model_is_right(settings: Settings, permission: str) -> None:
    settings.TASKQ = {"ADMIN": {"SCHEDULE_PERMISSION": permission}}
    assert found() == []


def test_a_permission_of_no_model_is_a_warning(settings: Settings) -> None:
    settings.TASKQ = {"ADMIN": {"SCHEDULE_PERMISSION": "taskq_django.chnage_schedule"}}
    task(schedulable="auth.fly")(permitted)

    warnings = found()

    assert [check for check, _ in warnings] == ["taskq_django.W018"] * 2
    assert 'Did you mean "taskq_django.change_schedule"?' in warnings[0][1]
    assert f'schedulable of the task {__name__}.permitted is "auth.fly"' in warnings[1][1]


def permitted() -> None: ...

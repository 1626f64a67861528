"""Each line of a worker's log once, where the project wants it, and as nobody else can write it."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings

from taskq_django.compat import FRAMEWORK
from taskq_django.testing import run_all
from taskq_django.worker.logs import JsonFormatter, TextFormatter, configure_logs
from tests.app import tasks

pytestmark = pytest.mark.once

NAMES = ("", "django", FRAMEWORK, "taskq_django", "taskq_django.task", "taskq_django.worker")
Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Has a worker's logs configured in a project with this LOGGING; returns what is written to stderr from now on."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.handlers[:] = []
        each.setLevel(logging.WARNING if each.name == "root" else logging.NOTSET)
        each.propagate = True
    logging.getLogger("django").addHandler(logging.NullHandler())  # as Django's, which mails where there are ADMINS

    def configured(log_format: str = "text", **given: Any) -> io.StringIO:
        logging.getLogger().handlers[:] = []  # those of pytest
        stderr = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stderr)
        handlers = {"console": {"class": "logging.StreamHandler"}, "none": {"class": "logging.NullHandler"}}
        given = {"version": 1, "disable_existing_loggers": False, "handlers": handlers, **given}
        logging.config.dictConfig(given)
        monkeypatch.setattr(settings, "LOGGING", given)
        configure_logs(log_format, 1)
        configure_logs(log_format, 1)
        return stderr

    yield configured
    for each, handlers, level, propagate in before:
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


def a_day() -> None:
    """One that succeeds, one to be tried again, one that fails."""
    tasks.add.enqueue(1)
    tasks.note_and_retry.enqueue()
    tasks.explode.enqueue()
    run_all()


TO_CONSOLE = {"handlers": ["console"]}
# What a project has in LOGGING, and how often each end of a job is told.
PROJECTS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "nothing": ({}, {"succeeded": 2, "retry_in": 1, "failed": 1}),
    "root at INFO": ({"root": {**TO_CONSOLE, "level": "INFO"}}, {"succeeded": 2, "retry_in": 1, "failed": 1}),
    "root at WARNING": ({"root": {**TO_CONSOLE, "level": "WARNING"}}, {"succeeded": 0, "retry_in": 1, "failed": 1}),
    "one of ours": ({"loggers": {"taskq_django.task": TO_CONSOLE}}, {"retry_in": 1, "failed": 1}),
    "one of ours at ERROR": (
        {"loggers": {"taskq_django.task": {**TO_CONSOLE, "level": "ERROR"}}},
        {"succeeded": 0, "retry_in": 0, "failed": 1},
    ),
    "a handler of one of ours that leaves out what is well": (
        {
            "handlers": {"errors": {"class": "logging.StreamHandler", "level": "ERROR"}},
            "loggers": {"taskq_django.task": {"handlers": ["errors"]}},
        },
        {"succeeded": 2, "retry_in": 1, "failed": 1},
    ),
    "a level of ours": ({"loggers": {"taskq_django": {"level": "ERROR"}}}, {"retry_in": 0, "failed": 1}),
    "silence": ({"loggers": {"taskq_django": {"handlers": ["none"]}}}, {"succeeded": 0, "retry_in": 0}),
    "Django's": ({"loggers": {"django": {**TO_CONSOLE, "level": "INFO"}}}, {"succeeded": 2, "failed": 1}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("project", PROJECTS)
def test_each_end_is_told_once_where_the_project_wants_it(configure: Configure, project: str) -> None:
    given, told = PROJECTS[project]
    stderr = configure(**given)
    a_day()
    text = stderr.getvalue()
    assert {what: text.count(f"{what} task=") + text.count(f"{what}=") for what in told} == told, text
    assert text.count("Traceback (most recent call last)") == told.get("failed", 0), text


@pytest.mark.django_db
def test_lines_of_the_framework_that_a_project_asks_for_are_told_too(configure: Configure) -> None:
    stderr = configure(root={**TO_CONSOLE, "level": "INFO"}, loggers={FRAMEWORK: {"level": "INFO"}})
    a_day()
    assert stderr.getvalue().count("Traceback (most recent call last)") == 2


@pytest.mark.django_db
def test_who_gets_none_of_our_lines_gets_the_errors_of_the_framework(configure: Configure) -> None:
    """As Django's handler that mails them."""
    heard: list[str] = []

    class Mail(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.name)

    logging.getLogger(FRAMEWORK.partition(".")[0]).addHandler(Mail())
    stderr = configure()
    a_day()
    assert heard == [FRAMEWORK]
    assert stderr.getvalue().count("Traceback (most recent call last)") == 1


@pytest.mark.django_db
def test_a_line_of_json_says_nothing_twice(configure: Configure) -> None:
    stderr = configure("json")
    a_day()
    lines = {line["message"]: line for line in map(json.loads, stderr.getvalue().splitlines())}
    assert set(lines) == {"succeeded", "retried", "failed"}
    assert {"task", "job_id", "queue", "attempt", "wait", "run"} < set(lines["succeeded"])
    assert lines["retried"]["retry_in"] == 0
    assert "missing" in lines["failed"]["error"]
    assert lines["failed"]["traceback"].startswith("Traceback (most recent call last):\n")


FORGED = "\n2026-11-30 12:00:00.000 INFO taskq_django.task succeeded task=shop.pay"


def record(message: str, *args: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("taskq_django.task", logging.INFO, "", 0, message, args, None)
    made.__dict__ |= fields
    return made


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028", "\x0b", "\x0c", "\x1e"])
def test_no_text_of_a_task_looks_like_a_line_of_the_log(end: str) -> None:
    shown = TextFormatter().format(record("failed %s", end + FORGED)).splitlines()
    assert all(line.startswith(("  ", "20")) for line in shown)
    assert [line for line in shown if line.startswith("20")] == shown[:1]


@pytest.mark.parametrize("sign", ["\x1b[2K\x1b[1A", "\b\b", "\x07", "\x9b31m", "\u202e", "\ud800"])
def test_nothing_in_a_message_controls_a_terminal(sign: str) -> None:
    shown = TextFormatter().format(record("a %s\tb\nc ü 世", sign))
    assert shown.replace("\n", "").replace("\t", "").isprintable()
    assert shown.endswith("\tb\n  c ü 世")


def test_a_line_about_a_job_names_it_once() -> None:
    shown = TextFormatter().format(record("half of it", task="shop.pay", job_id="7"))
    assert shown.endswith(" half of it task=shop.pay id=7")
    shown = TextFormatter().format(record("succeeded task=shop.pay id=7", task="shop.pay", job_id="7"))
    assert shown.count("id=7") == 1
    assert json.loads(JsonFormatter().format(record("half of it", task="shop.pay", job_id="7")))["job_id"] == "7"

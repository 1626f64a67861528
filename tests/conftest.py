from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import scale, services

if TYPE_CHECKING:
    from tests.support.redis_servers import Redis

pytest_plugins = ["taskq_django.pytest_plugin"]  # as pytest finds it where the package is installed

HERE = Path(__file__).parent
MARKED = ("system", "browser")  # folders whose tests have a mark of its name
HANGS = 300  # seconds, for what starts many processes on a machine that is busy with others


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for folder in MARKED:
            if HERE / folder in item.path.parents:
                item.add_marker(folder)
                if item.get_closest_marker("timeout") is None:
                    item.add_marker(pytest.mark.timeout(HANGS))
    if services.missing and os.environ.get("TASKQ_TEST_DB", "sqlite") != "sqlite":
        if os.environ.get("CI"):
            pytest.exit("; ".join(services.missing), returncode=1)
        for item in items:
            item.add_marker(pytest.mark.skip(reason=services.missing[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what in services.missing:
        terminalreporter.write_line(f"SKIPPED, THIS PART WAS NOT TESTED — {what}", red=True, bold=True)
    if scale.IS_LONG:
        for report in chain(terminalreporter.getreports("passed"), terminalreporter.getreports("failed")):
            for name, figure in report.user_properties:
                terminalreporter.write_line(f"{name:44} {figure}")


def pytest_configure(config: pytest.Config) -> None:
    from django.conf import settings

    assert settings.DATABASES  # read early: a service is started once, before any test


@pytest.fixture(autouse=True)
def _known_here_only() -> Iterator[None]:
    """What a test declares ends with it, because another one counts on it that nobody has such a task.

    What a module of the project declares stays: it was imported meanwhile, and will not be again.
    """
    from taskq_django.registry import registry

    known, duplicates = dict(registry._tasks), list(registry.duplicates)
    yield
    of_project = {path: task for path, task in registry._tasks.items() if task.func.__module__.startswith("tests.app.")}
    registry._tasks, registry.duplicates = known | of_project, duplicates


@pytest.fixture
def patient_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an engine that lives may need longer for an answer than anybody waits for it."""
    from taskq_django.brokers.messages.transport import Transport

    monkeypatch.setattr(Transport, "patience", 60.0)


@pytest.fixture(scope="session")
def private_redis() -> Iterator[Redis]:
    """A server that nobody else uses. Without the extra, or a server, the test is skipped."""
    pytest.importorskip("redis")
    from tests.support.redis_servers import started_or_skipped

    server = started_or_skipped()
    yield server
    server.remove()


@pytest.fixture
def redis_server(private_redis: Redis) -> Redis:
    """The same, up and empty."""
    from tests.support.redis_servers import empty

    private_redis.start()
    empty(private_redis)
    return private_redis

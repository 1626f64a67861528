from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.mixed.deploy import Deploy, own_database
from tests.mixed.releases import both, commit_before
from tests.support import services

ASKED = os.environ.get("TASKQ_TEST_MIXED", "")
STORES = ("sqlite", "postgresql", "redis")
WHAT = "The release before, beside this one"

# It takes minutes: for an environment of its own.
collect_ignore_glob = ["project"] if ASKED else ["*"]


def pytest_configure(config: pytest.Config) -> None:
    """Where there is no release before, the run says so; one that was asked for by name fails."""
    if not ASKED:
        return
    try:
        commit_before()
    except LookupError as error:
        if ASKED != "optional":
            raise pytest.UsageError(f"{WHAT}: {error}.") from None
        services.missing.append(f"{WHAT}: {error}")


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of the environments of both releases."""
    if lacking := [text for text in services.missing if text.startswith(WHAT)]:
        pytest.skip(lacking[0])  # "mixed-optional" only: as "mixed" the run has failed already
    shared = tmp_path_factory.getbasetemp()
    # Of all processes of this run, which has a folder in it for each.
    return both((shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "releases")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process for each store, because what is made for one takes ten seconds."""
    from xdist.scheduler import LoadScopeScheduling

    class ByStore(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next(name for name in STORES if f"[{name}" in nodeid)

    return ByStore(config, log)


@pytest.fixture(scope="session", params=STORES)
def deploy(request: pytest.FixtureRequest, pythons: dict[str, Path], tmp_path_factory: Any) -> Iterator[Deploy]:
    """A project that has just been migrated by the new release, while processes of the one before served it.

    On Redis its store is in PostgreSQL.
    """
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        database = stack.enter_context(own_database("sqlite" if request.param == "sqlite" else "postgresql", folder))
        options: dict[str, Any] = {}
        if request.param == "redis":
            from tests.support.redis_servers import started_or_skipped

            server = started_or_skipped()
            stack.callback(server.remove)
            options = {"broker": server.url, "outbox": True, "name": "shop"}
        deploy = Deploy(pythons, folder, {"database": database, "options": options})
        stack.callback(deploy.stop)
        deploy.migrate_under_load()
        yield deploy

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

from taskq_django.models import JobAttempt, JobResult, PausedQueue, QueuedJob, Schedule, WorkerProcess
from taskq_django.store import identity
from tests.support.ledger import Ledger
from tests.support.proxy import FaultProxy
from tests.support.redis_servers import Redis, started_or_skipped
from tests.support.servers import SERVERS, Server
from tests.support.small_disk import mounted
from tests.support.workers import ROOT, RealBeat, RealWorker

BACKEND = "taskq_django.TaskqBackend"
# Short, because tests wait for the end of a lease; and not shorter, because a supervisor that a busy machine keeps from
# its turn for some seconds must not count as lost.
LEASE = 5.0
HASTY = {"HEARTBEAT": 0.2, "LEASE": LEASE, "MAINTENANCE": 0.2}
DISK = "320m"  # of which a new MariaDB takes two thirds


@pytest.fixture
def start_worker(transactional_db: None) -> Iterator[Callable[..., RealWorker]]:
    """Starts real workers; whatever is left of them when the test ends is killed."""
    yield from _starter(RealWorker)


@pytest.fixture
def start_beat(transactional_db: None) -> Iterator[Callable[..., RealBeat]]:
    """The same for beats."""
    yield from _starter(RealBeat)


def _starter(cls: type[RealWorker]) -> Iterator[Callable[..., Any]]:
    started: list[RealWorker] = []

    def start(*flags: str, **options: object) -> RealWorker:
        service = cls(*flags, **options)  # type: ignore[arg-type]
        started.append(service)
        return service

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def settings_with(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The environment of workers with these settings on top of the tests' own."""

    def make(**settings: Any) -> dict[str, str]:
        name = f"settings_{len(list(tmp_path.glob('settings_*.py')))}"
        lines = ["from tests.settings import *", *(f"{key} = {value!r}" for key, value in settings.items())]
        (tmp_path / f"{name}.py").write_text("\n".join(lines))
        return {"DJANGO_SETTINGS_MODULE": name, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    return make


@pytest.fixture
def hasty(settings_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Workers that count each other as lost after a short while."""
    return settings_with(TASKQ={"WORKER": HASTY})


@pytest.fixture(scope="session")
def private_redis() -> Iterator[Redis]:
    """A Redis that nobody else uses, and that has written down what it has confirmed."""
    server = started_or_skipped(appendonly="yes", appendfsync="always")
    yield server
    server.remove()


@pytest.fixture
def redis_server(private_redis: Redis) -> Redis:
    """The same, up and empty."""
    private_redis.thaw()
    private_redis.start()
    with private_redis.client() as client:
        client.flushall()
    return private_redis


@pytest.fixture
def on_broker(settings: Any, settings_with: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """Has this process send its jobs to the broker at an URL; returns the environment of workers for it, hasty ones.

    ``others``: more aliases, with the URL of each; ``worker``: more settings of workers; the rest are OPTIONS.
    """

    def make(
        url: str, *, others: dict[str, str] | None = None, worker: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, str]:
        options_of = {"default": {"broker": url, **options}}
        options_of |= {alias: {"broker": other} for alias, other in (others or {}).items()}
        settings.TASKS = {alias: {"BACKEND": BACKEND, "OPTIONS": each} for alias, each in options_of.items()}
        return settings_with(TASKS=settings.TASKS, TASKQ={"WORKER": {**HASTY, **(worker or {})}})

    return make


@pytest.fixture
def on_redis(redis_server: Redis, on_broker: Callable[..., dict[str, str]]) -> dict[str, str]:
    """This process sends its jobs to the private Redis; the environment of workers for it."""
    return on_broker(redis_server.url)


@pytest.fixture(scope="session")
def private_server() -> Iterator[Server]:
    """A server of the kind that this run is for, and that nobody else uses."""
    server = SERVERS[connection.vendor]()
    yield server.start()
    server.remove()


@pytest.fixture
def server(private_server: Server, transactional_db: None) -> Iterator[Server]:
    """The same, up, with empty tables; what the test itself asks for is there and not in the shared server.

    Workers that are to go there need ``there``. They come as a user without special rights, as those of a project do.
    """
    with _own_connection(_place(private_server, private_server.administrator)) as mine:
        if not private_server.is_up:
            private_server.start()
        _prepare(mine)
        yield private_server


@pytest.fixture
def there_with(server: Server, settings_with: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """The environment of hasty workers on the private server, with more settings."""
    return lambda **settings: settings_with(**{**_hasty_on(_place(server, "app")), **settings})


@pytest.fixture
def there(there_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    """The same without more."""
    return there_with()


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """Before the server of this run."""
    entry = connection.settings_dict
    proxy = FaultProxy(entry["HOST"], int(entry["PORT"]))
    yield proxy
    proxy.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """An empty file system of DISK, which a test may fill."""
    with ExitStack() as undo:
        try:
            disk = undo.enter_context(mounted(DISK))
        except LookupError as error:
            if os.environ.get("CI"):
                pytest.fail(f"CI must run these tests as root: {error}")
            pytest.skip(str(error))
        yield disk


@pytest.fixture
def on_small_disk(
    small_disk: Path, transactional_db: None, settings_with: Callable[..., dict[str, str]]
) -> Iterator[tuple[Server | None, dict[str, str]]]:
    """A database on it (SQLite has no server), as in ``server``, and the environment of hasty workers there."""
    if connection.vendor == "sqlite":
        place = {"NAME": str(small_disk / "taskq.sqlite3")}
        with _own_connection(place):
            call_command("migrate", verbosity=0)
            yield None, settings_with(**_hasty_on(place))
        return
    server = SERVERS[connection.vendor](small_disk)
    try:
        server.start()
        with _own_connection(_place(server, server.administrator)) as mine:
            _prepare(mine)
            yield server, settings_with(**_hasty_on(_place(server, "app")))
    finally:
        server.remove()


@contextmanager
def _own_connection(place: dict[str, Any]) -> Iterator[Any]:
    """What the test itself asks for is asked there meanwhile."""
    shared = connections["default"]
    connections["default"] = mine = connections.create_connection("default")
    identity._ids.clear()  # of the other store
    mine.settings_dict = {**mine.settings_dict, **place}
    try:
        yield mine
    finally:
        mine.close()
        connections["default"] = shared
        identity._ids.clear()


def _hasty_on(place: dict[str, Any]) -> dict[str, Any]:
    entry = {**settings.DATABASES["default"], "NAME": "taskq", "TEST": {}, **place}
    return {"DATABASES": {"default": entry}, "TASKQ": {"WORKER": HASTY}}


def _place(server: Server, user: str) -> dict[str, Any]:
    return {"HOST": "127.0.0.1", "PORT": server.port, "USER": user, "PASSWORD": ""}


def _prepare(mine: Any) -> None:
    """The tables, empty, in a database ``taskq``, and the user ``app`` who may read and write them."""
    is_postgresql = mine.vendor == "postgresql"
    mine.settings_dict["NAME"] = "postgres" if is_postgresql else "mysql"
    with mine.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_database WHERE datname = 'taskq'"
            if is_postgresql
            else "SELECT 1 FROM information_schema.schemata WHERE schema_name = 'taskq'"
        )
        is_new = cursor.fetchone() is None
        if is_new:
            cursor.execute("CREATE DATABASE taskq" + ("" if is_postgresql else " CHARACTER SET utf8mb4"))
    mine.close()
    mine.settings_dict["NAME"] = "taskq"
    if is_new:
        call_command("migrate", "taskq_django", verbosity=0)
        with mine.cursor() as cursor:
            for statement in RIGHTS[mine.vendor]:
                cursor.execute(statement)
    for model in (QueuedJob, JobResult, JobAttempt, WorkerProcess, PausedQueue, Schedule):
        model.objects.all().delete()


RIGHTS = {
    "postgresql": [
        "CREATE ROLE app LOGIN",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO app",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app",
    ],
    "mysql": [
        f"{act} app@{host}"
        for host in ("localhost", "'127.0.0.1'")
        for act in ("CREATE USER", "GRANT ALL ON taskq.* TO")
    ],
}

"""What the checks and a worker that starts say about a Redis, and that they ask it only where Django asks databases."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

redis = pytest.importorskip("redis")

from taskq_django.brokers.kombu import advice, lua, lua_questions  # noqa: E402
from taskq_django.brokers.kombu.connection import RedisConnection  # noqa: E402
from taskq_django.brokers.kombu.errors import RIGHTS  # noqa: E402
from taskq_django.brokers.kombu.redis import RedisTransport  # noqa: E402
from taskq_django.checks.engines import check_options  # noqa: E402
from taskq_django.conf import read_options  # noqa: E402
from taskq_django.conf.transport_options import KEPT_BACK  # noqa: E402
from taskq_django.store.identity import store_id  # noqa: E402
from tests.support.carrying import carry_a_job  # noqa: E402
from tests.support.redis_servers import Redis, running  # noqa: E402
from tests.support.sending import job  # noqa: E402

pytestmark = pytest.mark.django_db(databases=["default", "other"])

OURS = "taskq_django.TaskqBackend"
STORE = "taskq:{fast}:store"


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    server = Redis()
    with running(server):
        yield server


@pytest.fixture(autouse=True)
def project(server: Redis, settings: Settings) -> Iterator[redis.Redis]:
    """Its backend ``fast`` has its jobs in the server, which is empty and as it was started."""
    settings.TASKS = backends(server.url)
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with server.client() as client:
        client.flushall()
        client.config_set("maxmemory-policy", "noeviction")
        yield client


def backends(url: str, **options: Any) -> dict[str, Any]:
    return {
        "default": {"BACKEND": OURS},
        "fast": {"BACKEND": OURS, "OPTIONS": {"broker": url, **options}},
    }


def said(*databases: str) -> list[tuple[str, str]]:
    """The id and the text of what our checks say that connect to these databases."""
    messages = run_checks(tags=["database", "taskq_django"], databases=databases or ["default", "other"])
    return [
        ((each.id or "").removeprefix("taskq_django."), f"{each.msg} {each.hint or ''}")
        for each in messages
        if (each.id or "").startswith("taskq_django.")
    ]


def said_without_asking() -> list[tuple[str, str]]:
    return [
        ((each.id or "").removeprefix("taskq_django."), f"{each.msg} {each.hint or ''}") for each in check_options()
    ]


def worker() -> None:
    call_command("taskq_worker", "--backend", "fast", "--processes", "0", "--burst", "--no-reload", verbosity=0)


def test_a_good_server_has_no_message_and_nothing_is_left_in_it(project: redis.Redis) -> None:
    assert said() == []
    assert project.keys() == []


def test_a_server_is_asked_only_where_databases_are(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as never_asked:
        never_asked.settimeout(0.01)
        settings.TASKS = backends(f"redis://127.0.0.1:{never_asked.getsockname()[1]}/0")

        run_checks()
        with pytest.raises(TimeoutError):
            never_asked.accept()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_server_that_evicts_is_an_error_and_no_worker_starts(project: redis.Redis, policy: str) -> None:
    project.config_set("maxmemory-policy", policy)

    [(check, text)] = said()

    assert check == "E020"
    assert f"has the maxmemory-policy {policy}: when it is full, it removes jobs" in text
    assert text.startswith('TASKS["fast"]: Redis at 127.0.0.1:')
    with pytest.raises(CommandError, match="it removes jobs to make room"):
        worker()


def test_one_that_evicts_what_will_expire_is_right(project: redis.Redis) -> None:
    project.config_set("maxmemory-policy", "volatile-lru")

    assert said() == []


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"redis_version": "6.0.16"}, "it is Redis 6.0.16"),
        ({"redis_version": "6.2.0"}, ""),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.2"}, ""),
        ({}, "it is Redis 0"),
    ],
)
def test_an_old_server_is_an_error(info: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis.Redis, "info", lambda client: info)

    messages = said()

    assert [check for check, _ in messages] == (["E019"] if text else [])
    assert all(f"must be at least Redis 6.2 or Valkey 7.2 to hold jobs ({text})." in each for _, each in messages)


def test_a_missing_right_is_named_and_those_that_are_needed_are_enough(
    server: Redis, project: redis.Redis, settings: Settings
) -> None:
    project.execute_command("ACL", "SETUSER", "queue", "reset", "resetchannels", "on", ">hunter2", *RIGHTS.split())
    settings.TASKS = backends(f"redis://queue:hunter2@127.0.0.1:{server.port}/0")
    assert said() == []
    connection = RedisConnection(f"redis://queue:hunter2@127.0.0.1:{server.port}/0")
    carry_a_job(RedisTransport("fast", connection, lambda: store_id("default")))

    project.execute_command("ACL", "SETUSER", "queue", "-zadd", "-hset", "-blpop")
    [(check, text)] = said()
    assert check == "E021"
    assert "does not let its user call HSET, ZADD, BLPOP, which is needed. Give it these rights: ~taskq:*" in text

    project.execute_command("ACL", "SETUSER", "queue", "-@scripting")
    [(check, text)] = said()
    assert check == "E021"
    assert "hunter2" not in text
    connection.close()


@pytest.mark.parametrize("keyprefix", ["", "shop-"])
def test_beside_celery_the_rights_on_its_keys_are_asked_for_and_those_that_are_named_are_enough(
    server: Redis, project: redis.Redis, settings: Settings, keyprefix: str
) -> None:
    url, reset = f"redis://queue:hunter2@127.0.0.1:{server.port}/0", ("reset", "resetchannels", "on", ">hunter2")
    options = {"celery_compatible": True, "transport_options": {"global_keyprefix": keyprefix}}
    settings.TASKS = backends(url, **options)
    settings.TASKS["fast"]["QUEUES"] = ["mail", "bills"]

    project.execute_command("ACL", "SETUSER", "queue", *reset, *RIGHTS.split(), f"~{keyprefix}mail*")
    [(check, text)] = said()
    assert check == "E021"
    lacking = [f"{command} {keyprefix}bills" for command in ("LRANGE", "LTRIM")]
    lacking += [f"LTRIM {keyprefix}_kombu.{key}.{queue}" for queue in ("bills", "mail") for key in BINDINGS]
    assert f"does not let its user call {', '.join(lacking)}, MULTI, EXEC, which is needed." in text

    named = text.partition("Give it these rights: ")[2].rstrip(".").split()
    project.execute_command("ACL", "SETUSER", "queue", *reset, *named)
    assert said() == []
    assert project.keys() == []
    transport = RedisTransport.opened("fast", read_options("fast", {"broker": url, **options}), lambda: "a store")
    sent = job(queue_name="bills", priority=-100)
    transport.join("me")
    transport.publish([sent], 3)
    [claim] = transport.claim("bills", 5, "me")
    assert transport.release([claim]) == {sent.id}
    assert [each.job.id for each in transport.claim("bills", 5, "me")] == [sent.id]
    transport.close()


BINDINGS = ("binding", "binding_permanent")


def test_what_is_asked_changes_nothing_of_what_waits_for_celery(project: redis.Redis, settings: Settings) -> None:
    settings.TASKS = backends(settings.TASKS["fast"]["OPTIONS"]["broker"], celery_compatible=True)
    project.rpush("celery", "one", "two")
    project.sadd("_kombu.binding.celery", "a")

    assert said() == []

    assert project.lrange("celery", 0, -1) == [b"one", b"two"]
    assert project.smembers("_kombu.binding.celery") == {b"a"}
    assert set(project.keys()) == {b"celery", b"_kombu.binding.celery"}


def test_the_rights_that_are_needed_are_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "settings.rst").read_text()

    assert " ".join(RIGHTS.split()[2:]) in " ".join(page.split())


def test_every_command_of_a_script_is_asked_for() -> None:
    folder = Path(lua.__file__).parent
    assert lua_questions.__file__.startswith(str(folder))
    called = {name for path in folder.glob("*.py") for name in re.findall(r"p?call\('([A-Z]+)'", path.read_text())}

    assert called - {each.partition(" ")[0] for each in advice.COMMANDS} == set()


@pytest.mark.parametrize("login", [":hunter2@", "nobody:hunter2@"])
def test_a_refused_password_is_an_error_and_no_worker_starts(server: Redis, settings: Settings, login: str) -> None:
    settings.TASKS = backends(f"redis://{login}127.0.0.1:{server.port}/0")

    [(check, text)] = said()

    assert check == "E021"
    assert "refuses the user or the password" in text
    assert "hunter2" not in text
    with pytest.raises(CommandError) as refused:
        worker()
    assert "hunter2" not in str(refused.value)


def test_a_name_of_another_store_is_an_error_and_no_worker_starts(project: redis.Redis, settings: Settings) -> None:
    project.set(STORE, store_id("default"))
    assert said() == []

    project.set(STORE, str(uuid4()))
    [(check, text)] = said()

    assert check == "E022"
    assert 'has jobs under the name "fast" that belong to another database. Set another OPTIONS["name"]' in text
    with pytest.raises(CommandError, match="belong to another database"):
        worker()
    settings.TASKS = backends(settings.TASKS["fast"]["OPTIONS"]["broker"], name="mine")
    assert said() == []


@pytest.mark.parametrize(
    ("alias", "place", "is_warned"),
    [
        ("pages", "redis://localhost:{}/0", True),
        ("pages", "redis://localhost:{}/1", False),
        ("pages", "redis://127.0.0.1:1/0", False),
    ],
)
def test_a_cache_in_the_same_database_is_a_warning(
    server: Redis, settings: Settings, alias: str, place: str, is_warned: bool
) -> None:
    pytest.importorskip("django_redis")
    location = place.format(server.port)
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://h:1"},
        "broken": {"BACKEND": "nowhere.Cache"},
        alias: {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location},
    }

    messages = said()

    assert [check for check, _ in messages] == ["W013"] * is_warned
    assert all(f'CACHES["{alias}"]: cache.clear() would remove them all' in text for _, text in messages)


@pytest.mark.parametrize(("alias", "is_warned"), [("jobs", False), ("default", True)])
def test_a_cache_that_is_there_for_the_jobs_is_none(
    server: Redis, settings: Settings, alias: str, is_warned: bool
) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{server.url[:-1]}5"},
        "jobs": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url},
    }
    settings.TASKS = backends(f"cache://{alias}")

    assert [check for check, _ in said()] == ["W013"] * is_warned


def test_a_server_that_is_away_is_a_warning_of_check(settings: Settings) -> None:
    with socket.socket() as taken:  # and nobody listens
        taken.bind(("127.0.0.1", 0))
        settings.TASKS = backends(f"redis://:hunter2@127.0.0.1:{taken.getsockname()[1]}/0")
        [(check, text)] = said()

    assert check == "W014"
    assert "cannot be reached: Error 111" in text
    assert "hunter2" not in text


def test_two_backends_with_one_name_in_one_redis_are_an_error(settings: Settings) -> None:
    url = "redis://127.0.0.1:1/0"
    one, other = backends(url, name="shop")["fast"], backends(url, name="shop")["fast"]
    settings.TASKS = {"one": one, "other": other}
    assert "E023" in [check for check, _ in said()]

    settings.TASKS = {"one": one, "other": backends("redis://127.0.0.1:1/1", name="shop")["fast"]}
    assert "E023" not in [check for check, _ in said()]


def test_an_idle_option_and_a_certificate_that_is_not_checked_are_warnings(settings: Settings) -> None:
    settings.TASKS = backends("database://", outbox=True)
    assert [check for check, _ in said()] == ["W011"]

    settings.TASKS = backends("rediss://127.0.0.1:1?ssl_cert_reqs=none")
    assert sorted(check for check, _ in said()) == ["W012", "W014"]


@pytest.mark.parametrize("where", ["broker", "bell"])
def test_what_kombu_does_not_know_is_an_error_with_the_nearest_name(settings: Settings, where: str) -> None:
    options = {where: "redis://127.0.0.1:1/0", "transport_options": {"global_keyprefx": "shop-", "client_name": "shop"}}
    settings.TASKS = {"default": {"BACKEND": OURS, "OPTIONS": options}}

    [(check, text)] = said_without_asking()

    assert check == "E002"
    assert '["transport_options"] has no key "global_keyprefx". Did you mean "global_keyprefix"? Its keys are "' in text
    assert '"retry_on_timeout"' not in text  # which is refused


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "sentinel://127.0.0.1:1"])
def test_what_the_docs_of_kombu_name_is_known(settings: Settings, url: str) -> None:
    from kombu.transport import redis as of_kombu

    documented = re.findall(r"^\* ``(\w+)``", of_kombu.__doc__.partition("Transport Options\n")[2], re.MULTILINE)
    names = {*documented, *of_kombu.SentinelChannel.from_transport_options} - KEPT_BACK.keys()
    assert {"sep", "visibility_timeout", "priority_steps", "global_keyprefix", "min_other_sentinels"} < names
    valid: dict[str, Any] = {**dict.fromkeys(names), "master_name": "mymaster", "sentinel_kwargs": {}, "max_retries": 3}

    settings.TASKS = backends(url, transport_options=valid)

    assert [text for check, text in said_without_asking() if check == "E002"] == []


def test_a_warning_is_logged_by_a_worker_that_starts(
    server: Redis, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    from taskq_django.compat import task_backends
    from taskq_django.management.starting import refuse_bad_engines

    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url}}
    with caplog.at_level(logging.WARNING, "taskq_django"):
        refuse_bad_engines({alias: task_backends[alias].broker for alias in settings.TASKS})  # type: ignore[attr-defined]

    assert "cache.clear() would remove them all" in caplog.text

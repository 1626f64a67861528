"""How Redis is reached: every call ends in its time, nothing is sent twice, and every error says what was done."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

redis = pytest.importorskip("redis")

from redis import exceptions  # noqa: E402

from taskq_django.brokers.kombu.connection import RedisConnection  # noqa: E402
from taskq_django.brokers.kombu.redis import RedisTransport  # noqa: E402
from taskq_django.exceptions import BrokerError, BrokerUnavailable, ConfigurationError  # noqa: E402
from tests.support.carrying import carry_a_job  # noqa: E402
from tests.support.proxy import FaultProxy  # noqa: E402
from tests.support.redis_servers import Redis, Sentinel, certificate, eventually, running  # noqa: E402
from tests.support.usage import takes_at_most  # noqa: E402

pytestmark = [pytest.mark.once, pytest.mark.thorough]

SECRET = "hunter2"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    server = Redis()
    with running(server):
        yield server


@pytest.fixture(autouse=True)
def no_connection_stays_open() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def connection(server: Redis) -> Iterator[RedisConnection]:
    connection = RedisConnection(server.url)
    yield connection
    connection.close()


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a listener that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def failed(connection: RedisConnection, *command: Any, within: float = 2.0) -> BrokerError:
    """How a command fails: our error for it."""
    try:
        answer = connection.client(within).execute_command(*command or ("PING",))
    except (exceptions.RedisError, OSError, BrokerError) as error:
        return connection.explain(error)
    raise AssertionError(f"it was answered: {answer}")


def test_a_command_is_answered_in_bytes(connection: RedisConnection) -> None:
    client = connection.client()

    assert client.set("a", "1")
    assert client.get("a") == b"1"
    assert connection.client() is client
    assert connection.client(3.0) is not client
    assert connection.client(3.0).get("a") == b"1"


def test_where_nobody_listens_nothing_was_done_and_it_says_so_at_once() -> None:
    with socket.socket() as taken:  # and nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        connection = RedisConnection(f"redis://:{SECRET}@127.0.0.1:{port}/3")
        errors: list[BrokerError] = []
        assert takes_at_most(0.5, lambda: errors.append(failed(connection)))
        errors += [failed(connection), failed(connection)]

    for error in errors:
        assert isinstance(error, BrokerUnavailable)
        assert error.known
        assert f"Redis at 127.0.0.1:{port}/3 cannot be reached: Error 111" in str(error)
        assert SECRET not in str(error)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}/0", "rediss://127.0.0.1:{}/0", "redis://:x@127.0.0.1:{}/1"])
def test_a_server_that_is_mute_keeps_nobody_for_longer_than_asked(mute: int, url: str) -> None:
    connection = RedisConnection(url.format(mute))
    errors: list[BrokerError] = []

    assert takes_at_most(1.5, lambda: errors.append(failed(connection, within=0.5)))

    for error in errors:
        assert isinstance(error, BrokerUnavailable)
        assert error.known


def test_a_command_that_was_sent_and_not_answered_is_not_known_and_not_sent_again() -> None:
    server = Redis()
    with running(server), server.client() as other:
        connection = RedisConnection(server.url)
        eventually(lambda: connection.client(0.5).ping())
        server.freeze()
        error = failed(connection, "INCR", "n", within=0.5)
        server.thaw()

        assert isinstance(error, BrokerUnavailable)
        assert not error.known
        assert "did not answer" in str(error)
        eventually(lambda: other.get("n"))
        assert eventually(lambda: connection.client(0.5).get("n")) == b"1"
        assert other.info("commandstats")["cmdstat_incr"]["calls"] == 1
        connection.close()


def test_a_connection_that_is_cut_after_the_send_is_not_known_and_the_next_call_is_answered(server: Redis) -> None:
    proxy = FaultProxy("127.0.0.1", server.port)
    connection = RedisConnection(f"redis://127.0.0.1:{proxy.port}/0")
    connection.client().set("cut", 0)
    proxy.cut_after = b"INCR"

    error = failed(connection, "INCR", "cut")

    assert isinstance(error, BrokerUnavailable)
    assert not error.known
    assert connection.client().get("cut") == b"1"
    connection.close()
    proxy.close()


def test_a_server_that_was_started_again_is_reached_by_the_next_call() -> None:
    server = Redis()
    with running(server):
        connection = RedisConnection(server.url)
        connection.client().ping()
        server.kill()
        down = failed(connection)
        server.start()

        assert isinstance(down, BrokerUnavailable)
        assert connection.client().ping()
        connection.close()


def test_a_full_server_has_done_nothing(server: Redis, connection: RedisConnection) -> None:
    with server.client() as other:
        other.config_set("maxmemory", "1")
        try:
            plain = failed(connection, "SET", "a", "1")
            script = failed(connection, "EVAL", "return redis.call('SET', KEYS[1], '1')", 1, "a")
        finally:
            other.config_set("maxmemory", "0")

    for error in (plain, script):
        assert isinstance(error, BrokerUnavailable)
        assert error.known
        assert "is full: it has reached its maxmemory" in str(error)


def test_a_server_that_is_no_longer_the_master_is_left() -> None:
    server = Redis()
    with running(server), server.client() as other:
        connection = RedisConnection(server.url)
        before = connection.client().client_id()
        other.replicaof("127.0.0.1", 1)
        error = failed(connection, "SET", "a", "1", within=5.0)
        other.replicaof("NO", "ONE")

        assert isinstance(error, BrokerUnavailable)
        assert error.known
        assert "is a replica, which takes no writes" in str(error)
        assert connection.client().client_id() != before
        connection.close()


@pytest.mark.parametrize(
    ("error", "known", "text"),
    [
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), True, "is reading its data"),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), True, "to its disk"),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), True, "min-replicas-to-write"),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), True, "busy with a script"),
        (exceptions.ResponseError("Error running script (call to f_1): @user_script:1: -OOM command"), True, "is full"),
        (exceptions.ConnectionError("The previous master is now a slave"), True, "is a replica"),
        (exceptions.TimeoutError("Timeout reading from socket"), False, "did not answer"),
        (exceptions.ConnectionError("Connection closed by server."), False, "did not answer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_outage_is_unavailable_and_tells_whether_something_was_done(error: Any, known: bool, text: str) -> None:
    ours = RedisConnection("redis://h").explain(error)

    assert isinstance(ours, BrokerUnavailable)
    assert ours.known is known
    assert text in str(ours)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (exceptions.ResponseError("unknown command 'X'"), "refused a command: unknown command"),
        (exceptions.InvalidResponse("Protocol Error: b'HTTP/1.1'"), "does not speak as Redis does"),
        (
            exceptions.NoPermissionError("this user has no permissions to run the 'x' command"),
            "Give it these rights",
        ),
        (exceptions.ResponseError("The user executing the script can't run this command"), "Give it these rights"),
        (exceptions.ResponseError("The user executing the script can't access at least one of the keys"), "Give it"),
        (exceptions.DataError("Invalid input"), "cannot be used: DataError"),
    ],
)
def test_what_no_waiting_mends_is_no_outage(error: Any, text: str) -> None:
    ours = RedisConnection("redis://h").explain(error)

    assert type(ours) is BrokerError
    assert text in str(ours)


@pytest.mark.parametrize("login", ["", ":wrong-hunter2@", "nobody:hunter2@", ":hunter2%2F@"])
def test_a_wrong_password_is_told_and_shown_nowhere(login: str) -> None:
    server = Redis(requirepass="right")
    with running(server):
        connection = RedisConnection(f"redis://{login}127.0.0.1:{server.port}/0")
        error = failed(connection)

        assert type(error) is BrokerError
        assert "refuses the user or the password" in str(error)
        assert 'Correct them in OPTIONS["broker"]' in str(error)
        shown = f"{error!r} {error} {error.__cause__} {connection.described} {connection!r}"
        assert SECRET not in shown
        assert RedisConnection(f"redis://:right@127.0.0.1:{server.port}/0").client().ping()


def test_a_missing_right_is_named_with_those_that_are_needed(server: Redis) -> None:
    with server.client() as other:
        other.acl_setuser("guest", enabled=True, passwords=["+x"], keys=["*"], commands=["+ping", "+select", "+eval"])
    connection = RedisConnection(f"redis://guest:x@127.0.0.1:{server.port}/0")

    for command in (("SET", "a", 1), ("EVAL", "return redis.call('SET', KEYS[1], '1')", 1, "a")):
        error = failed(connection, *command)
        assert type(error) is BrokerError
        assert "+@hash +@list" in str(error)
    connection.close()


# TLS, sockets, sentinels


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Redis, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    files = certificate(folder)
    server = Redis(**files, tls_auth_clients="no")
    port = Redis().port
    server.options["tls-port"] = port
    try:
        with running(server):
            yield server, files["tls_cert_file"]
    except LookupError as error:
        pytest.skip(f"this server was built without TLS: {error}")


def test_a_certificate_is_checked_unless_it_is_said_not_to_be(secure: tuple[Redis, Path]) -> None:
    server, certificate = secure
    port = server.options["tls-port"]

    untrusted = failed(RedisConnection(f"rediss://localhost:{port}/0"))
    assert isinstance(untrusted, BrokerUnavailable)
    assert untrusted.known
    assert "has a certificate that is not trusted" in str(untrusted)
    assert "?ssl_ca_certs=" in str(untrusted)

    of_another_name = failed(RedisConnection(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"))
    assert "has a certificate that is not trusted" in str(of_another_name)

    for query in (f"ssl_ca_certs={certificate}", "ssl_cert_reqs=none"):
        connection = RedisConnection(f"rediss://localhost:{port}/0?{query}")
        assert connection.client().ping()
        connection.close()


def test_a_socket_of_the_system_leads_to_its_database(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    server = Redis(unixsocket=path, requirepass="right")
    with running(server):
        connection = RedisConnection(f"redis+socket://:right@{path}?virtual_host=2")

        assert connection.client().client_info()["db"] == 2
        assert connection.described == f"Redis at {path}/2"
        connection.close()


def test_a_job_is_carried_by_every_way_to_a_server(
    secure: tuple[Redis, Path], tmp_path: Path, settings: Settings
) -> None:
    server, signed = secure
    by_tls = f"rediss://localhost:{server.options['tls-port']}/1?ssl_ca_certs={signed}"
    path = tmp_path / "redis.sock"
    local = Redis(unixsocket=path)
    settings.CACHES = {"jobs": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": by_tls}}
    with running(local):
        sentinel = Sentinel(local)
        with running(sentinel):
            by_sentinel = f"sentinel://127.0.0.1:{sentinel.port}/2"
            for url in (by_tls, f"redis+socket://{path}", by_sentinel, "cache://jobs"):
                connection = RedisConnection(url, {"master_name": "mymaster"})
                carry_a_job(RedisTransport("fast", connection, lambda: "a store"))
                connection.close()


@pytest.mark.parametrize("by", ["url", "cache"])
def test_the_next_call_after_a_failover_finds_the_new_master(mute: int, settings: Settings, by: str) -> None:
    if by == "cache":
        pytest.importorskip("django_redis")
    master = Redis()
    with running(master):
        replica = Redis(replicaof=f"127.0.0.1 {master.port}")
        sentinel = Sentinel(master, down_after=1500)  # not sooner: a master that is slow would be failed over
        with running(replica, sentinel):
            settings.CACHES = {
                "default": {
                    "BACKEND": "django_redis.cache.RedisCache",
                    "LOCATION": "redis://mymaster/0",
                    "OPTIONS": {
                        "CLIENT_CLASS": "django_redis.client.SentinelClient",
                        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                        "SENTINELS": [("127.0.0.1", mute), ("127.0.0.1", sentinel.port)],
                    },
                }
            }
            # A sentinel that is mute comes first: it costs its half a second, once.
            url = f"sentinel://127.0.0.1:{mute}/0;sentinel://127.0.0.1:{sentinel.port}"
            connection = RedisConnection(url if by == "url" else "cache://default", {"master_name": "mymaster"})
            assert takes_at_most(2, lambda: connection.client().set("a", 1))
            assert "mymaster" in connection.described
            with replica.client() as other:
                eventually(lambda: other.get("a"))
            master.kill()
            errors: list[BrokerError] = []
            took: list[float] = []

            def is_written() -> bool:
                began = time.monotonic()
                try:
                    return bool(connection.client().set("a", 2))
                except Exception as error:
                    errors.append(connection.explain(error))
                    took.append(time.monotonic() - began)
                    return False

            eventually(is_written)
            assert min(took, default=0.0) < 3
            assert all(isinstance(error, BrokerUnavailable) and error.known for error in errors[1:])
            connection.close()


# Caches


def caches(server: Redis, **options: Any) -> dict[str, Any]:
    of_django_redis = {"PASSWORD": SECRET, "IGNORE_EXCEPTIONS": True, **options}
    return {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "full": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": [f"redis://127.0.0.1:{server.port}/3", "redis://127.0.0.1:1/3"],
            "OPTIONS": of_django_redis,
        },
        "plain": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{server.port}/4",
            "OPTIONS": {"password": SECRET, "decode_responses": True, "socket_timeout": 60},
        },
        "sharded": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": [f"redis://127.0.0.1:{server.port}/3", "redis://127.0.0.1:1/3"],
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"},
        },
    }


@pytest.mark.parametrize(("alias", "database"), [("full", 3), ("plain", 4)])
def test_a_cache_gives_its_settings_and_neither_its_pool_nor_its_silence(
    settings: Settings, alias: str, database: int
) -> None:
    pytest.importorskip("django_redis")
    from django.core.cache import caches as open_caches

    server = Redis(requirepass=SECRET)
    pool = {"CONNECTION_POOL_CLASS": "redis.BlockingConnectionPool"}
    pool |= {"CONNECTION_POOL_KWARGS": {"max_connections": 1, "timeout": 20, "decode_responses": True}}
    with running(server):
        settings.CACHES = caches(server, **pool)
        connection = RedisConnection(f"cache://{alias}")
        open_caches[alias].set("x", "1")
        client = connection.client(2.0)
        with server.client(db=database) as other:
            assert other.keys() == [b":1:x"]

        assert client.client_info()["db"] == database
        assert client.get(":1:x") is not None
        assert isinstance(client.get(":1:x"), bytes)
        assert connection.described == f'Redis at 127.0.0.1:{server.port}/{database} (CACHES["{alias}"])'
        assert len({id(connection.client(seconds).connection_pool) for seconds in (1.0, 2.0)}) == 2
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 2.0
        server.kill()
        error = failed(connection)
        assert isinstance(error, BrokerUnavailable)
        assert SECRET not in f"{error} {connection.described}"
        connection.close()
        for cache in open_caches.all(initialized_only=True):
            if hasattr(cache, "client"):
                cache.client.disconnect()
            elif hasattr(cache, "_cache") and hasattr(cache._cache, "get_client"):
                cache._cache.get_client().connection_pool.disconnect()


@pytest.mark.parametrize("alias", ["default", "sharded", "nowhere"])
def test_a_cache_that_has_no_one_server_is_refused(settings: Settings, server: Redis, alias: str) -> None:
    pytest.importorskip("django_redis")
    settings.CACHES = caches(server)

    with pytest.raises(ConfigurationError, match=rf'CACHES\["{alias}"\] cannot be used for jobs'):
        RedisConnection(f"cache://{alias}")


# Threads, forks, connections of one's own


def test_any_number_of_threads_may_begin_at_once(connection: RedisConnection) -> None:
    barrier = threading.Barrier(40)

    def ask(_: int) -> Any:
        barrier.wait()
        client = connection.client()
        return client, [client.incr("threads") for _ in range(20)]

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, range(40)))

    assert len({id(client) for client, _ in answers}) == 1
    assert sorted(number for _, numbers in answers for number in numbers) == list(range(1, 801))


def test_a_connection_of_its_own_waits_without_disturbing_others(server: Redis, connection: RedisConnection) -> None:
    raw = connection.dedicated()
    raw.send_command("BLPOP", "waited", 0)
    connection.client().lpush("waited", "x")

    assert raw.read_response() == [b"waited", b"x"]
    assert raw._sock.fileno() > 0


def test_close_leaves_nothing_open_and_the_next_call_opens_it_anew() -> None:
    server = Redis()  # to which nobody else has a connection that is about to close
    with running(server), server.client() as other:
        connection = RedisConnection(f"{server.url}?")
        before = len(other.client_list())
        connection.client(1.0).ping()
        connection.client(3.0).ping()
        raw = connection.dedicated()
        assert len(other.client_list()) == before + 4  # dedicated() has looked for the server first

        connection.close()
        eventually(lambda: len(other.client_list()) == before)
        assert raw._sock is None
        assert connection.client(1.0).ping()
        connection.close()


def test_close_cuts_no_command_of_another_thread(connection: RedisConnection) -> None:
    client = connection.client(60.0)
    waiting = threading.Event()
    answers: list[Any] = []

    def wait() -> None:
        waiting.set()
        answers.append(client.blpop(["closed"], 60))

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    eventually(lambda: client.info("clients")["blocked_clients"])
    connection.close()
    connection.client().lpush("closed", "x")
    thread.join()

    assert answers == [(b"closed", b"x")]


FORKED = """
import django; django.setup()
import os, sys
from taskq_django.brokers.kombu.connection import RedisConnection
connection = RedisConnection(sys.argv[1])
raw = connection.dedicated()
mine = connection.client().client_id()
child = os.fork()
if child == 0:
    other = connection.client().client_id()
    connection.close()
    os._exit(0 if other != mine else 1)
assert os.waitpid(child, 0)[1] == 0
assert connection.client().client_id() == mine
raw.send_command("PING")
assert raw.read_response() == b"PONG"
connection.close()
"""


def test_a_child_uses_nothing_that_its_parent_has_open(server: Redis) -> None:
    command = [sys.executable, "-W", "error", "-c", FORKED, server.url]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, env=env)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("url", "described"),
    [
        ("redis://:hunter2@h", "Redis at h:6379/0"),
        ("REDIS://u:hunter2@h:1/5", "Redis at h:1/5"),
        ("rediss://h/?ssl_password=hunter2", "Redis at h:6379/0"),
        ("redis+socket://:hunter2@/run/x.sock", "Redis at /run/x.sock/0"),
        ("sentinel://:hunter2@a/1;sentinel://b:2", "Redis at m of the sentinels a:26379, b:2/1"),
    ],
)
def test_it_says_where_it_is_without_a_password(url: str, described: str) -> None:
    assert RedisConnection(url, {"master_name": "m"}).described == described

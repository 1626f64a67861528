"""Private database servers in folders of their own, which a test may kill, freeze and start again.

They write each commit to the system before they answer it, so a killed one has kept what it has answered.
"""

from __future__ import annotations

import atexit
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

START_SECONDS = 60


class Server(ABC):
    """Raises LookupError when none is installed, or when it does not start."""

    scheme: ClassVar[str]
    administrator: ClassVar[str]

    def __init__(self, where: Path | None = None) -> None:
        """``where``: the folder in which it makes its own."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"taskq-{self.scheme}-", dir=where))
        self._owner = os.getpid()
        atexit.register(self.remove)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.administrator}@127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None and self._answers()

    def start(self) -> Server:
        """Until it answers; recovers first what a kill has left. One that runs already is only waited for."""
        if self._process is None or self._process.poll() is not None:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
                )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LookupError(f"the server did not start: {(self.folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)  # between two knocks at its door
        return self

    def kill(self) -> None:
        """All of its processes, at once; nothing is written any more."""
        self.freeze()  # else it could start another one meanwhile
        children = children_of(self._process.pid) if self._process else []
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        deadline = time.monotonic() + START_SECONDS
        while not all(map(is_gone, children)) and time.monotonic() < deadline:
            time.sleep(0.01)  # between two looks at them

    def freeze(self) -> None:
        """It neither answers nor refuses, until ``thaw``."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """At the end of the process that made it, and not of that one's forks. May be called twice."""
        if os.getpid() == self._owner:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        for pid in (self._process.pid, *children_of(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _answers(self) -> bool: ...


class PostgreSQL(Server):
    scheme = "postgresql"
    administrator = "postgres"

    def __init__(self, where: Path | None = None) -> None:
        binaries = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        initdb = shutil.which("initdb", path=os.pathsep.join([*binaries, os.environ.get("PATH", "")]))
        if initdb is None:
            raise LookupError("no server is installed")
        super().__init__(where)
        self._bin = Path(initdb).resolve().parent
        # It refuses to run as root.
        other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._as_user = other if os.geteuid() == 0 else []
        if self._as_user:
            shutil.chown(self.folder, "postgres", "postgres")
        # Not the locale of the caller: under C it would make a server whose text is bytes.
        options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]
        _call([*self._as_user, initdb, *options, "-D", str(self.folder / "data")], self.folder)

    def _command(self) -> list[str]:
        options = {"port": self.port, "unix_socket_directories": self.folder, "listen_addresses": "127.0.0.1"}
        options |= {"fsync": "off", "max_wal_size": "128MB"}  # some have a small disk
        flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [*self._as_user, str(self._bin / "postgres"), "-D", str(self.folder / "data"), *flags]

    def _answers(self) -> bool:
        return postgresql_answers("127.0.0.1", self.port, self.administrator)


class MariaDB(Server):
    scheme = "mysql"
    administrator = "root"

    def __init__(self, where: Path | None = None) -> None:
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        server, install = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
        if server is None or install is None:
            raise LookupError("no server is installed")
        choose_mysql_driver()
        super().__init__(where)
        self._server, self._user = server, getpass.getuser()
        # A server that starts removes what others have left in its folder of temporary files, and what they still use.
        self._temporary = self.folder / "tmp"
        self._temporary.mkdir()
        places = [f"--datadir={self.folder / 'data'}", f"--tmpdir={self._temporary}"]
        options = [*places, f"--user={self._user}", "--skip-test-db"]
        _call([install, "--no-defaults", "--auth-root-authentication-method=normal", *options], self.folder)

    def _command(self) -> list[str]:
        options = {
            "datadir": self.folder / "data",
            "tmpdir": self._temporary,
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "user": self._user,
            "innodb-flush-log-at-trx-commit": 2,
            # Any number: what is unlimited at the start cannot be limited later.
            "max-user-connections": 1000,
        }
        return [self._server, "--no-defaults", *(f"--{key}={value}" for key, value in options.items())]

    def _answers(self) -> bool:
        return mysql_answers("127.0.0.1", self.port, self.administrator)


SERVERS: dict[str, type[Server]] = {"postgresql": PostgreSQL, "mysql": MariaDB}  # by vendor


def choose_mysql_driver() -> None:
    """mysqlclient where it is installed (it wants a compiler and headers), else PyMySQL under its name."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.version_info = (2, 2, 7, "final", 0)  # Django looks for a mysqlclient of that age
        pymysql.install_as_MySQLdb()


def postgresql_answers(host: str, port: int, user: str) -> bool:
    import psycopg

    try:
        psycopg.connect(host=host, port=port, user=user, dbname="postgres", connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def mysql_answers(host: str, port: int, user: str, password: str = "") -> bool:
    import MySQLdb

    try:
        MySQLdb.connect(host=host, port=port, user=user, password=password, connect_timeout=3, read_timeout=3).close()
    except MySQLdb.Error:
        return False
    return True


def children_of(pid: int) -> list[int]:
    """Needs Linux."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def is_gone(pid: int) -> bool:
    """Has it ended, whether or not somebody has asked how?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _call(command: list[str], folder: Path) -> None:
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

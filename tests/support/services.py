"""Finds the servers that the tests need: where the environment says, on the usual local port, or started here."""

from __future__ import annotations

import atexit
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# What could not be had; the test run says so at its end, or fails where CI is set.
missing: list[str] = []


@cache
def mariadb() -> dict[str, Any] | None:
    """DATABASES entry of a MariaDB server that may create databases; None when there is none."""
    _choose_mysql_driver()
    url = os.environ.get("TASKQ_TEST_MARIADB")
    if url:
        return _mysql_entry(url)
    entry = _mysql_entry("mysql://root@127.0.0.1:3306")
    if _mysql_answers(entry):
        return entry
    try:
        return _start_mariadb()
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        missing.append(f"MariaDB: none answers root on 127.0.0.1:3306, TASKQ_TEST_MARIADB is not set, and {error}")
        return None


@cache
def mysql() -> dict[str, Any] | None:
    """DATABASES entry of the MySQL server that TASKQ_TEST_MYSQL points to; None without."""
    _choose_mysql_driver()
    url = os.environ.get("TASKQ_TEST_MYSQL")
    if url:
        return _mysql_entry(url)
    missing.append("MySQL: TASKQ_TEST_MYSQL is not set (mysql://USER:PASSWORD@HOST:PORT)")
    return None


@cache
def postgresql() -> dict[str, Any] | None:
    """DATABASES entry of a PostgreSQL server that may create databases; None when there is none."""
    url = os.environ.get("TASKQ_TEST_POSTGRESQL")
    if url:
        return _from_url(url)
    for user in dict.fromkeys(["postgres", getpass.getuser()]):
        entry = _entry(host="127.0.0.1", port=5432, user=user)
        if _answers(entry):
            return entry
    try:
        return _start_postgresql()
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        missing.append(f"PostgreSQL: none answers on 127.0.0.1:5432, TASKQ_TEST_POSTGRESQL is not set, and {error}")
        return None


def remove_folder(folder: str, owner: int) -> None:
    """For the end of the process ``owner``, and not of its forks."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _from_url(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return _entry(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        user=unquote(parts.username or "postgres"),
        password=unquote(parts.password or ""),
        name=parts.path.strip("/") or "postgres",
    )


def _entry(*, host: str, port: int, user: str, password: str = "", name: str = "postgres") -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": host,
        "PORT": port,
        "USER": user,
        "PASSWORD": password,
        "NAME": name,
        # One a run, so that two runs on one server do not meet.
        "TEST": {"NAME": f"test_taskq_{os.getpid()}"},
    }


def _answers(entry: dict[str, Any]) -> bool:
    import psycopg

    try:
        psycopg.connect(
            host=entry["HOST"], port=entry["PORT"], user=entry["USER"], dbname="postgres", connect_timeout=3
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def _start_postgresql() -> dict[str, Any]:
    """A private server in a folder of its own, stopped when this process ends; raises when there is none to start."""
    binaries = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    initdb = shutil.which("initdb", path=os.pathsep.join([*binaries, os.environ.get("PATH", "")]))
    if initdb is None:
        raise LookupError("no server is installed")
    bin_ = Path(initdb).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="taskq-pg-"))
    # Stopping a server that did not start does no harm; so nothing is left behind wherever this fails.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    atexit.register(_stop_postgresql, as_user, bin_, folder, os.getpid())
    if as_user:
        shutil.chown(folder, "postgres")
    data, port = folder / "data", _free_port()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    # Not the locale of the caller: under C it would make a server whose text is bytes.
    initdb_options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]
    _call([*as_user, initdb, *initdb_options, "-D", str(data)], folder)
    start = ["-w", "-D", str(data), "-o", options, "-l", f"{folder}/log", "start"]
    _call([*as_user, str(bin_ / "pg_ctl"), *start], folder)
    os.environ["TASKQ_TEST_POSTGRESQL"] = f"postgresql://postgres@127.0.0.1:{port}/postgres"  # for child processes
    return _from_url(os.environ["TASKQ_TEST_POSTGRESQL"])


def _stop_postgresql(as_user: list[str], bin_: Path, folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a fork of the process that started it
        subprocess.run(
            [*as_user, str(bin_ / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "stop"],
            check=False,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        shutil.rmtree(folder, ignore_errors=True)


def _choose_mysql_driver() -> None:
    """mysqlclient where it is installed (it wants a compiler and headers), else PyMySQL under its name."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.version_info = (2, 2, 7, "final", 0)  # Django looks for a mysqlclient of that age
        pymysql.install_as_MySQLdb()


def _mysql_entry(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.mysql",
        "HOST": parts.hostname or "127.0.0.1",
        "PORT": parts.port or 3306,
        "USER": unquote(parts.username or "root"),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": parts.path.strip("/"),
        # As unfriendly as real servers are: an old default character set, and a time zone that is not UTC.
        "OPTIONS": {"init_command": "SET time_zone = '+05:45'"},
        "TEST": {
            "NAME": f"test_taskq_{os.getpid()}",
            "CHARSET": "latin1",
            "COLLATION": "latin1_swedish_ci",
        },
    }


def _mysql_answers(entry: dict[str, Any]) -> bool:
    import MySQLdb

    try:
        MySQLdb.connect(
            host=entry["HOST"], port=entry["PORT"], user=entry["USER"], password=entry["PASSWORD"], connect_timeout=3
        ).close()
    except MySQLdb.Error:
        return False
    return True


def _start_mariadb() -> dict[str, Any]:
    """A private server in a folder of its own, stopped when this process ends; raises when there is none to start."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    server, install = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
    if server is None or install is None:
        raise LookupError("no server is installed")
    folder = Path(tempfile.mkdtemp(prefix="taskq-mariadb-"))
    data, port, user = folder / "data", _free_port(), getpass.getuser()
    authentication = "--auth-root-authentication-method=normal"
    _call([install, "--no-defaults", f"--datadir={data}", f"--user={user}", authentication, "--skip-test-db"], folder)
    options = {
        "datadir": data,
        "socket": folder / "socket",
        "pid-file": folder / "pid",
        "log-error": folder / "log",
        "port": port,
        "bind-address": "127.0.0.1",
        "user": user,
        "innodb-flush-log-at-trx-commit": 0,
    }
    process = subprocess.Popen([server, "--no-defaults", *(f"--{k}={v}" for k, v in options.items())], cwd=folder)
    atexit.register(_stop_mariadb, process, folder, os.getpid())
    url = os.environ["TASKQ_TEST_MARIADB"] = f"mysql://root@127.0.0.1:{port}"  # for child processes
    entry = _mysql_entry(url)
    deadline = time.monotonic() + 30
    while not _mysql_answers(entry):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LookupError(f"the server did not start: {(folder / 'log').read_text()[-500:]}")
        time.sleep(0.1)  # between two knocks at its door
    return entry


def _stop_mariadb(process: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a fork of the process that started it
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _call(command: list[str], folder: Path) -> None:
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

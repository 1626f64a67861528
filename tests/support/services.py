"""Finds the servers that the tests need: where the environment says, on the usual local port, or started here."""

from __future__ import annotations

import atexit
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# What could not be had; the test run says so at its end, or fails where CI is set.
missing: list[str] = []


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


def _call(command: list[str], folder: Path) -> None:
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

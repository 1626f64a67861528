"""Finds the servers that the tests need: where the environment says, on the usual local port, or started here."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .servers import MariaDB, PostgreSQL, Server, choose_mysql_driver, mysql_answers, postgresql_answers

# What could not be had; the test run says so at its end, or fails where CI is set.
missing: list[str] = []


@cache
def mariadb() -> dict[str, Any] | None:
    """DATABASES entry of a MariaDB server that may create databases; None when there is none."""
    choose_mysql_driver()
    url = os.environ.get("TASKQ_TEST_MARIADB")
    if url:
        return _mysql_entry(url)
    entry = _mysql_entry("mysql://root@127.0.0.1:3306")
    if mysql_answers(entry["HOST"], entry["PORT"], entry["USER"]):
        return entry
    try:
        return _mysql_entry(start_own("mariadb").url)
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        missing.append(f"MariaDB: none answers root on 127.0.0.1:3306, TASKQ_TEST_MARIADB is not set, and {error}")
        return None


@cache
def mysql() -> dict[str, Any] | None:
    """DATABASES entry of the MySQL server that TASKQ_TEST_MYSQL points to; None without."""
    choose_mysql_driver()
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
        if postgresql_answers(entry["HOST"], entry["PORT"], user):
            return entry
    try:
        return _from_url(start_own("postgresql").url)
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


def start_own(database: str, where: Path | None = None) -> Server:
    """A private server of this kind for this process and its children, whatever else there is; they may kill it.

    ``where``: the folder in which it makes its own.
    """
    kind, variable = OWN[database]
    server = kind(where).start()
    os.environ[variable] = server.url
    return server


OWN: dict[str, tuple[type[Server], str]] = {
    "postgresql": (PostgreSQL, "TASKQ_TEST_POSTGRESQL"),
    "mariadb": (MariaDB, "TASKQ_TEST_MARIADB"),
}

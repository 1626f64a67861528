"""A PgBouncer between a test's processes and their PostgreSQL, as many projects have one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

START_SECONDS = 30


class PgBouncer:
    """Hands ``sessions`` sessions of the server to everybody, each for one transaction."""

    def __init__(self, database: Mapping[str, Any], *, sessions: int) -> None:
        """``database``: an entry of DATABASES. Raises LookupError where there is none, or when it does not start."""
        path = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
        if path is None:
            raise LookupError("PgBouncer: pgbouncer is not installed (apt-get install pgbouncer)")
        self._folder = Path(tempfile.mkdtemp(prefix="taskq-pgbouncer-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        target = {"host": database["HOST"], "port": database["PORT"], "user": database["USER"]}
        target |= {"password": database["PASSWORD"]} if database["PASSWORD"] else {}
        (self._folder / "ini").write_text(
            f"[databases]\n* = {' '.join(f'{key}={value}' for key, value in target.items())}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {sessions}\n"
            "server_login_retry = 1\n"  # seconds; else nobody gets in for 15 when the server was away
        )
        as_user = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.geteuid() == 0 else []  # it refuses to be root
        shutil.chown(self._folder, "nobody") if as_user else None
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*as_user, path, self._folder / "ini"], stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LookupError(f"PgBouncer did not start: {(self._folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)  # between two knocks at its door
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        self.version = told.splitlines()[0]  # with its name

    def place(self) -> dict[str, Any]:
        """What an entry of DATABASES must say to come through here, as Django's documentation advises."""
        return {"HOST": "127.0.0.1", "PORT": self.port, "PASSWORD": "", "DISABLE_SERVER_SIDE_CURSORS": True}

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

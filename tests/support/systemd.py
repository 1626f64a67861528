"""Stands in for systemd: the socket on which a unit of ``Type=notify`` tells how it is."""

from __future__ import annotations

import socket
from pathlib import Path


class NotifySocket:
    def __init__(self, path: str | Path) -> None:
        """``path``: of a file, or ``@name`` for a socket that is none."""
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.path[1:]}" if self.path.startswith("@") else self.path)
        self._socket.setblocking(False)
        self._told: list[str] = []

    @property
    def told(self) -> list[str]:
        """Everything so far."""
        try:
            while True:
                self._told.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self._told

    def close(self) -> None:
        self._socket.close()

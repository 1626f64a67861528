"""Tells systemd how a service is, whose unit has ``Type=notify``: what ``sd_notify`` does, without its library."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from time import monotonic

EVERY = 1.0  # seconds between two signs of life


class Systemd:
    """Of the thread that makes it. Where systemd has not asked (``NOTIFY_SOCKET``) it tells nobody."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # of a socket that is no file
            self._address = f"\0{self._address[1:]}"
        self._is_watched = "WATCHDOG_USEC" in os.environ  # the unit has WatchdogSec
        self._alive_at = float("-inf")  # monotonic; when it said so
        self._told: set[str] = set()

    def turned(self, *, is_stopping: bool) -> None:
        """The loop of the service has come round."""
        if not self._address:
            return
        self._tell_once("READY=1")
        if is_stopping:
            self._tell_once("STOPPING=1")
        if self._is_watched and monotonic() - self._alive_at >= EVERY:
            self._alive_at = monotonic()
            self._tell("WATCHDOG=1")

    def _tell_once(self, state: str) -> None:
        if state not in self._told:
            self._told.add(state)
            self._tell(state)

    def _tell(self, state: str) -> None:
        # A service must not fail, or wait, because systemd does not listen: it is systemd's to miss what was not told.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.setblocking(False)
            teller.sendto(state.encode(), self._address)

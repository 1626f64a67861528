"""A TCP proxy that fails on request, between a worker and its database."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress


class FaultProxy:
    """``down`` resets every connection, old and new. ``swallow`` is a cable that was pulled: bytes are taken and reach
    nobody, no side is told. ``lose`` does that to one direction, or both, of what is connected by now; new connections
    are fine. ``cut_after``: once a client has sent a match, the server gets it and its answer is
    swallowed, then both sides are reset; it happens once.
    """

    def __init__(self, host: str, port: int) -> None:
        self.down = False
        self.cut_after: bytes | None = None
        self.cuts = 0
        self._swallows = threading.Event()
        self._upstream = (host, port)
        self._open: list[socket.socket] = []
        self._lost: list[set[bool]] = []  # of each connection: what a client sends (True), what a server does (False)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def take_down(self) -> None:
        self.down = True
        for side in list(self._open):
            _reset(side)
        self._open.clear()

    def swallow(self) -> None:
        self._swallows.set()

    def lose(self, *, requests: bool = False, answers: bool = False) -> int:
        """Returns of how many connections."""
        for lost in self._lost:
            if requests:
                lost.add(True)
            if answers:
                lost.add(False)
        return len(self._lost)

    def bring_up(self) -> None:
        """What was connected while bytes were swallowed has lost some, so it is reset."""
        if self._swallows.is_set():
            self.take_down()
            self._swallows.clear()
        self.down = False

    def close(self) -> None:
        self.take_down()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.down:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._upstream)
            except OSError:
                _reset(client)
                continue
            self._open += [client, server]
            if self.down:  # since a moment ago
                self.take_down()
                continue
            swallow = threading.Event()
            lost: set[bool] = set()
            self._lost.append(lost)
            for source, sink, from_client in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pump, args=(source, sink, from_client, swallow, lost), name="pump", daemon=True
                ).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, from_client: bool, swallow: threading.Event, lost: set[bool]
    ) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                if from_client and self.cut_after and re.search(self.cut_after, chunk):
                    self.cut_after = None
                    swallow.set()
                if not from_client and swallow.is_set():
                    self.cuts += 1  # the server has done it
                    break
                if not self._swallows.is_set() and from_client not in lost:
                    sink.sendall(chunk)
        _reset(source)
        _reset(sink)


def _reset(side: socket.socket) -> None:
    for act in (
        lambda: side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),
        lambda: side.shutdown(socket.SHUT_RDWR),  # wakes a recv in another thread, which close does not
        side.close,
    ):
        with suppress(OSError):
            act()

"""Tells whoever asks whether a service lives and is ready: over HTTP, by a file, and systemd.

A thread does, because the loop of a service may wait for a database for seconds. It knows what the loop has noted, asks
nobody, and rests while its process forks. What it tells is one word, for anybody may ask, and PAGES.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from multiprocessing.connection import wait
from pathlib import Path
from time import monotonic
from weakref import WeakSet

from ..exceptions import one_line
from . import heartbeat
from .systemd import Systemd

logger = logging.getLogger("taskq_django.worker")

Address = tuple[str, int]

EVERY = 1.0  # seconds between two writes of the file
SOON = 0.1
SLOWEST = 2.0  # seconds from a connection to the end of its request
MOST = 32  # connections at a time; the oldest makes room
LONGEST = 8192  # bytes of a request
SENT_WITHIN = 1.0  # seconds: a long page goes out while others wait for their answer
METHODS = (b"GET", b"HEAD")


class Page(ABC):
    """What else is served at the port, by its path in PAGES: of an app of ``contrib``."""

    content_type: str

    @abstractmethod
    def open(self) -> None:
        """The service begins; no process of it is there yet."""

    @abstractmethod
    def text(self) -> bytes:
        """Called in the thread that answers, which has others to answer."""

    @abstractmethod
    def close(self) -> None: ...


PAGES: dict[bytes, Page] = {}


class Probes:
    """Of the thread that makes it, which ends it by ``close``. Asked for none of them, it does nothing."""

    def __init__(self, listener: socket.socket | None = None, file: str | None = None, *, patience: float) -> None:
        """``patience``: how many seconds a loop that is well may take for a turn."""
        self._patience = patience
        self._file = file
        self._turned_at: float | None = None  # monotonic; None: the service is starting
        self._is_ready = False
        self._is_refused = False  # the file, and that has been said
        self._listener = listener
        self._asking: dict[socket.socket, tuple[float, bytes]] = {}  # since when, and what has come; the thread's
        self._thread: threading.Thread | None = None
        self._systemd = Systemd()
        self._woken, self._wake = os.pipe()
        _here.add(self)
        for page in PAGES.values() if listener is not None else ():
            page.open()
        self._start()

    def turned(self, *, is_ready: bool, is_stopping: bool = False) -> None:
        """The loop has come round; ``is_ready``: can it do its work? ``is_stopping``: for good, as it was asked to."""
        self._is_ready = is_ready and not is_stopping
        self._turned_at = monotonic()
        self._systemd.turned(is_stopping=is_stopping)  # by the loop itself: systemd is to see one that hangs

    @contextmanager
    def rests(self) -> Iterator[None]:
        """A process with one thread only can be forked safely. Whoever asks meanwhile waits."""
        self._end()
        try:
            yield
        finally:
            self._start()

    def close(self) -> None:
        """The service has ended."""
        self._end()
        file = self._file
        for page in PAGES.values() if self._listener is not None else ():
            page.close()
        self.forget()
        if file is not None:
            with suppress(OSError):
                Path(file).unlink()

    def forget(self) -> None:
        """Close what is open here, as in a copy of this process: who listens there too would keep the port."""
        if self not in _here:
            return
        _here.discard(self)
        for each in (self._listener, *self._asking):
            if each is not None:
                each.close()
        for fd in (self._woken, self._wake):
            os.close(fd)
        self._listener, self._asking, self._file, self._thread = None, {}, None, None

    @property
    def _lives(self) -> bool:
        """A service that starts does: its start has a time limit of its own."""
        return self._turned_at is None or monotonic() - self._turned_at <= self._patience

    def _start(self) -> None:
        if self._listener is not None or self._file is not None:
            self._thread = threading.Thread(target=self._answer, name="taskq probes", daemon=True)
            self._thread.start()

    def _end(self) -> None:
        if self._thread is not None:
            os.write(self._wake, b"\0")
            self._thread.join()
            self._thread = None

    # --- its own thread ---------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        listening = [] if self._listener is None else [self._listener]
        write_at = 0.0
        while True:
            if monotonic() >= write_at:
                self._write()
                write_at = monotonic() + EVERY
            began = monotonic()
            for each in wait([self._woken, *listening, *self._asking], EVERY):
                if not isinstance(each, socket.socket):
                    os.read(self._woken, 1)
                    return
                if each is self._listener:
                    self._accept(each)
                elif each in self._asking and self._read(each):  # it may have made room
                    break  # a long page may have taken a while, and the supervisor may want this thread to rest
            # Late before this look: what came while this thread could not run has been read in it.
            for each, (since, _) in list(self._asking.items()):
                if began - since > SLOWEST:
                    self._hang_up(each)

    def _write(self) -> None:
        if self._file is None:
            return
        try:
            heartbeat.write(self._file, monotonic() if self._turned_at is None else self._turned_at)
            self._is_refused = False
        except OSError as error:
            if not self._is_refused:
                logger.warning("The heartbeat file cannot be written: %s", one_line(error))
            self._is_refused = True

    def _accept(self, listener: socket.socket) -> None:
        try:
            asking, _ = listener.accept()
        except OSError:  # it has gone again, or this process has no descriptor left: then others must end first
            wait([self._woken], SOON)
            return
        asking.setblocking(False)
        if len(self._asking) == MOST:
            self._hang_up(next(iter(self._asking)))
        self._asking[asking] = (monotonic(), b"")

    def _read(self, asking: socket.socket) -> bool:
        """Take in what came, and answer it once it is whole; returns whether that was by a page."""
        since, before = self._asking[asking]
        request = before
        with suppress(OSError):
            came = asking.recv(4096)
            request += came
            if came and b"\r\n\r\n" not in request and len(request) < LONGEST:
                self._asking[asking] = (since, request)
                return False
            if came:
                asking.settimeout(SENT_WITHIN)
                asking.sendall(_response(request, self._lives, self._is_ready))
        self._hang_up(asking)
        return _path_of(request)[1] in PAGES

    def _hang_up(self, asking: socket.socket) -> None:
        self._asking.pop(asking, None)
        asking.close()


def spelled_address(address: Address) -> str:
    """As people write it: ``[::1]:8089``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listening_at(address: Address) -> socket.socket:
    """Raises OSError."""
    host, port = address
    is_any = host == "::" and socket.has_dualstack_ipv6()  # of both kinds
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=MOST, dualstack_ipv6=is_any)
    listener.setblocking(False)
    return listener


def _path_of(request: bytes) -> tuple[bytes, bytes]:
    """Method and path."""
    method, _, rest = request.partition(b" ")
    return method, rest.partition(b" ")[0].partition(b"?")[0]


def _response(request: bytes, lives: bool, is_ready: bool) -> bytes:
    """``is_ready`` counts only while it lives."""
    method, path = _path_of(request)
    known = {b"/live": lives, b"/ready": lives and is_ready, **dict.fromkeys(PAGES, True)}
    if b"\r\n\r\n" not in request or not path.startswith(b"/"):
        status = HTTPStatus.BAD_REQUEST
    elif path not in known:
        status = HTTPStatus.NOT_FOUND
    elif method not in METHODS:
        status = HTTPStatus.METHOD_NOT_ALLOWED
    else:
        status = HTTPStatus.OK if known[path] else HTTPStatus.SERVICE_UNAVAILABLE
    page, content_type = None, "text/plain; charset=utf-8"
    if status is HTTPStatus.OK and path in PAGES:
        try:
            page, content_type = PAGES[path].text(), PAGES[path].content_type
        except Exception:  # of a library, or of what the project has put there: who asks for /live must be answered
            logger.exception("The page %s could not be made", path.decode())
            status = HTTPStatus.INTERNAL_SERVER_ERROR
    body = f"{status.phrase}\n".encode() if page is None else page
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        *["Allow: GET, HEAD"] * (status is HTTPStatus.METHOD_NOT_ALLOWED),
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (body if method != b"HEAD" else b"")


# --- forks, a supervisor's or a task's ------------------------------------------------------------------------------

_here: WeakSet[Probes] = WeakSet()


def _leave_to_the_original() -> None:
    for probes in list(_here):
        probes.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_original)

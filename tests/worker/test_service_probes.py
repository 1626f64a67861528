"""What probes are told of a service, over HTTP and by its file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from taskq_django.management.flags import _read_address
from taskq_django.worker import heartbeat, probes
from taskq_django.worker.probes import Probes, listening_at, spelled_address
from tests.support.asking import ask
from tests.support.workers import ROOT, wait_for

pytestmark = pytest.mark.once

Serve = Callable[..., tuple[Probes, int]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Probes of a service in this process, and their port. Whoever asks may be slow."""
    monkeypatch.setattr(probes, "EVERY", 0.05)
    monkeypatch.setattr(probes, "SLOWEST", 60.0)
    made: list[Probes] = []

    def start(file: Path | None = None, *, patience: float = 60.0) -> tuple[Probes, int]:
        listener = listening_at(("127.0.0.1", 0))
        if file:
            heartbeat.begin(str(file))
        made.append(Probes(listener, str(file) if file else None, patience=patience))
        return made[-1], listener.getsockname()[1]

    yield start
    for each in made:
        each.close()
        each.close()  # as of whoever is not sure


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))


# --- over HTTP ----------------------------------------------------------------------------------------------------


def test_a_service_that_starts_lives_and_is_not_ready(serve: Serve) -> None:
    _, port = serve()

    assert ask(port, "/live") == (200, "OK\n")
    assert ask(port, "/ready") == (503, "Service Unavailable\n")


def test_it_is_ready_while_its_loop_says_so(serve: Serve) -> None:
    service, port = serve()

    for is_ready, status in ((True, 200), (False, 503), (True, 200)):
        service.turned(is_ready=is_ready)
        assert ask(port, "/ready")[0] == status
        assert ask(port, "/live")[0] == 200


def test_a_loop_that_is_stuck_is_neither_live_nor_ready(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service, port = serve(patience=60.0)
    service.turned(is_ready=True)
    monkeypatch.setattr(probes, "monotonic", lambda: monotonic() + 61)

    assert [ask(port, path)[0] for path in ("/live", "/ready")] == [503, 503]
    service.turned(is_ready=True)
    assert [ask(port, path)[0] for path in ("/live", "/ready")] == [200, 200]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /ready?full=1 HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        (b"HEAD /live HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"GET /live/../../etc/passwd HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /live HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405 Method Not Allowed"),
        (b"\x16\x03\x01 hello\r\n\r\n", b"400 Bad Request"),
        (b"x" * 10_000, b"400 Bad Request"),
    ],
    ids=["query", "head", "root", "path", "post", "tls", "endless"],
)
def test_nothing_is_told_but_a_status(serve: Serve, request_: bytes, status: bytes) -> None:
    service, port = serve()
    service.turned(is_ready=True)

    head, _, body = raw(port, request_[:8192]).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert body == (b"" if request_.startswith(b"HEAD") else status[4:] + b"\n")
    assert b"Server" not in head


class Report(probes.Page):
    """A page of somebody's."""

    content_type = "text/plain"
    broken = False

    def open(self) -> None: ...

    def text(self) -> bytes:
        if self.broken:
            raise ValueError("what is told is broken")
        return b"x" * 5_000_000

    def close(self) -> None: ...


def test_a_long_page_is_served_whole_and_a_broken_one_breaks_no_probe(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    report = Report()
    monkeypatch.setitem(probes.PAGES, b"/report", report)
    monkeypatch.setattr(probes, "SENT_WITHIN", 60.0)
    service, port = serve()
    service.turned(is_ready=True)
    assert ask(port, "/report") == (200, "x" * 5_000_000)
    report.broken = True
    assert ask(port, "/report")[0] == 500
    assert ask(port, "/live")[0] == ask(port, "/ready")[0] == 200
    assert "what is told is broken" in caplog.text


def test_who_asks_slowly_holds_up_nobody_and_is_hung_up_on(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    _, port = serve()
    idle = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(probes.MOST + 5)]
    try:
        assert ask(port, "/live")[0] == 200
        monkeypatch.setattr(probes, "SLOWEST", 0.2)
        for each in idle:
            assert each.recv(1) == b""
    finally:
        for each in idle:
            each.close()


def test_what_was_asked_is_answered_though_this_process_stood_still_meanwhile(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a call held the interpreter."""
    now, accept = [0.0], Probes._accept

    def stand_still_after_it(service: Probes, listener: socket.socket) -> None:
        accept(service, listener)
        now[0] += 3600

    service, port = serve()
    with service.rests():
        asking = socket.create_connection(("127.0.0.1", port), timeout=30)
        asking.sendall(b"GET /live HTTP/1.1\r\n\r\n")
        monkeypatch.setattr(probes, "monotonic", lambda: now[0])
        monkeypatch.setattr(Probes, "_accept", stand_still_after_it)

    assert asking.recv(4096).startswith(b"HTTP/1.1 200 OK")
    asking.close()


def test_who_asks_while_it_rests_is_answered_afterwards(serve: Serve) -> None:
    service, port = serve()
    begun = socket.create_connection(("127.0.0.1", port), timeout=30)
    begun.sendall(b"GET /live HTTP/1.1\r\n")
    wait_for(lambda: service._asking)

    with service.rests():
        assert not [each for each in threading.enumerate() if each.name == "taskq probes"]
        later = socket.create_connection(("127.0.0.1", port), timeout=30)
        for each, rest in ((begun, b"\r\n"), (later, b"GET /live HTTP/1.1\r\n\r\n")):
            each.sendall(rest)

    for each in (begun, later):
        assert each.recv(4096).startswith(b"HTTP/1.1 200 OK")
        each.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # those of pytest
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_copy_of_the_process_does_not_keep_the_port_nor_the_file(serve: Serve, tmp_path: Path) -> None:
    service, port = serve(tmp_path / "beat")
    ready, tell = os.pipe()
    let, end = os.pipe()
    with service.rests():
        if not (pid := os.fork()):
            service.close()  # as an exception would that ends the copy
            os.write(tell, b"x")
            os.read(let, 1)
            os._exit(0)
    try:
        os.read(ready, 1)
        assert (tmp_path / "beat").exists()
        service.close()
        assert not (tmp_path / "beat").exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=30)
    finally:
        os.write(end, b"x")
        os.waitpid(pid, 0)
        for fd in (ready, tell, let, end):
            os.close(fd)


# --- where it listens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8089", ("0.0.0.0", 8089)),
        (":8089", ("0.0.0.0", 8089)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address_is_read_as_it_is_spelled(text: str, address: tuple[str, int]) -> None:
    assert _read_address(text) == address
    assert _read_address(spelled_address(address)) == address


@pytest.mark.parametrize("command", ["taskq_worker", "taskq_beat"])
@pytest.mark.parametrize("text", ["0", "65536", "http", "::1:80", "127.0.0.1"])
def test_what_is_no_address_is_refused(command: str, text: str) -> None:
    with pytest.raises(CommandError, match="--health-port"):
        call_command(command, f"--health-port={text}")


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["taskq_worker", "taskq_beat"])
def test_a_port_in_use_is_named_with_the_remedy(command: str, serve: Serve) -> None:
    _, port = serve()

    with pytest.raises(CommandError) as refused:
        call_command(command, "--health-port", f"127.0.0.1:{port}")

    assert f"--health-port 127.0.0.1:{port}: Address already in use. Name another port" in str(refused.value)
    assert refused.value.returncode == 1


@pytest.mark.django_db
def test_an_address_of_another_host_is_named_with_the_remedy() -> None:
    with pytest.raises(CommandError, match=r"--health-port 192\.0\.2\.1:8089: .+ Name an address of this host"):
        call_command("taskq_worker", "--health-port", "192.0.2.1:8089")


# --- by a file ------------------------------------------------------------------------------------------------------


def probe(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "taskq_django.worker.heartbeat", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_the_file_says_when_the_loop_turned_and_goes_with_the_service(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "worker"
    service, _ = serve(file)

    def says_so() -> bool:
        return file.read_bytes() == heartbeat.FORM % service._turned_at

    service.turned(is_ready=False)
    wait_for(says_so)
    assert probe(file).returncode == 0
    written_at = file.stat().st_mtime_ns
    wait_for(lambda: file.stat().st_mtime_ns > written_at)  # it is written all the while, and the loop has not turned
    assert says_so()
    service.turned(is_ready=False)
    wait_for(says_so)

    service.close()
    done = probe(file)
    assert (done.returncode, done.stdout) == (
        1,
        f"{file}: it is not there: the service has not started, or has ended\n",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (heartbeat.FORM % 0, "the loop has not turned for"),
        (b"", "it is no heartbeat file"),
        (b"hello", "it is no heartbeat file"),
        (b"x" * heartbeat.LENGTH, "could not convert"),
        (heartbeat.FORM % 1e12, "before this one was started anew"),
    ],
    ids=["old", "empty", "short", "words", "to come"],
)
def test_a_probe_fails_with_the_reason(tmp_path: Path, text: bytes, why: str) -> None:
    file = tmp_path / "worker"
    file.write_bytes(text)

    done = probe(file, "--max-age", 0.001)

    assert done.returncode == 1
    assert why in done.stdout
    assert not done.stderr


def test_a_wrong_use_of_the_probe_is_told_apart() -> None:
    assert probe().returncode == 2
    assert probe("x", "--max-age", "long").returncode == 2


def test_the_probe_imports_neither_django_nor_more_of_ours() -> None:
    code = "import sys; from taskq_django.worker import heartbeat; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "'django" not in loaded
    assert {name for name in loaded.split("'") if name.startswith("taskq")} == {
        "taskq_django",
        "taskq_django.worker",
        "taskq_django.worker.heartbeat",
    }


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["taskq_worker", "taskq_beat"])
def test_no_file_of_somebody_else_is_written_over(command: str, tmp_path: Path) -> None:
    theirs, link = tmp_path / "manage.py", tmp_path / "link"
    theirs.write_text("print(1)\n")
    link.symlink_to(theirs)

    for path in (theirs, link, tmp_path, tmp_path / "nowhere" / "beat"):
        with pytest.raises(CommandError, match="Name a file of its own") as refused:
            call_command(command, "--heartbeat-file", str(path))
        assert f"--heartbeat-file {path}: " in str(refused.value)
    assert theirs.read_text() == "print(1)\n"


def test_a_file_that_cannot_be_written_is_said_once_and_the_service_goes_on(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    _, port = serve(folder / "worker")
    wait_for(lambda: (folder / "worker").exists())

    (folder / "worker").unlink()
    folder.rename(tmp_path / "gone")
    wait_for(lambda: "The heartbeat file cannot be written" in caplog.text)
    folder.mkdir()
    wait_for(lambda: (folder / "worker").exists())

    assert caplog.text.count("cannot be written") == 1
    assert ask(port, "/live")[0] == 200

"""What a service tells systemd, on a socket as systemd has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from taskq_django.worker import systemd
from taskq_django.worker.systemd import Systemd
from tests.support.systemd import NotifySocket

Listen = Callable[..., NotifySocket]


@pytest.fixture
def listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listen]:
    """As in a unit of ``Type=notify``, with ``WatchdogSec`` where it is watched."""
    opened: list[NotifySocket] = []

    def start(path: str = "", *, is_watched: bool = False) -> NotifySocket:
        opened.append(NotifySocket(path or tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", opened[-1].path)
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        if is_watched:
            monkeypatch.setenv("WATCHDOG_USEC", "120000000")
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.mark.parametrize("path", ["", f"@taskq-test-{uuid4()}"], ids=["file", "abstract"])
def test_a_service_tells_once_that_it_works_and_once_that_it_stops(listen: Listen, path: str) -> None:
    heard, service = listen(path), Systemd()
    assert heard.told == []
    for is_stopping in (False, False, True, True):
        service.turned(is_stopping=is_stopping)
    assert heard.told == ["READY=1", "STOPPING=1"]


def test_a_loop_that_turns_gives_signs_of_life_and_no_flood_of_them(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(systemd, "monotonic", lambda: now)
    heard, service = listen(is_watched=True), Systemd()
    for _ in range(50):
        service.turned(is_stopping=False)
    assert heard.told == ["READY=1", "WATCHDOG=1"]
    now += systemd.EVERY
    service.turned(is_stopping=False)
    assert heard.told == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_a_service_goes_on_where_systemd_does_not_listen_any_more(listen: Listen) -> None:
    heard, service = listen(is_watched=True), Systemd()
    heard.close()
    Path(heard.path).unlink()
    service.turned(is_stopping=True)


def test_a_service_does_not_wait_for_a_systemd_that_does_not_read(listen: Listen) -> None:
    listen(is_watched=True)
    for _ in range(2000):  # more than a socket holds
        Systemd().turned(is_stopping=True)


def test_a_service_that_systemd_did_not_start_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(systemd.socket, "socket", None)
    Systemd().turned(is_stopping=True)

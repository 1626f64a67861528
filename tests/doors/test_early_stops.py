"""A stop that comes while a command still starts."""

from __future__ import annotations

import signal
import sys
import weakref
from typing import Any

import pytest

from taskq_django.management.starting import heeding_stops
from taskq_django.worker.listening import listen, stop_listening
from tests.support.workers import wait_for

pytestmark = pytest.mark.once


class Thing:
    """Can be referred to weakly."""


def stop_in_a_callback(lost: list[Any]) -> None:
    """As when an import is interrupted while it puts a lock away: what is raised there goes no further."""
    thing = Thing()
    kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
    del thing
    assert kept() is None
    assert len(lost) == 1


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was raised in callbacks."""
    exceptions: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: exceptions.append(what.exc_type))
    return exceptions


def test_a_stop_that_python_loses_comes_again(lost: list[Any]) -> None:
    def start() -> None:
        with heeding_stops():
            stop_in_a_callback(lost)
            wait_for(lambda: False)  # the stop ends it

    with pytest.raises(SystemExit):
        start()
    assert lost == [SystemExit]


def test_a_service_that_listens_meanwhile_hears_it(lost: list[Any]) -> None:
    heard: list[int] = []
    with heeding_stops():
        stop_in_a_callback(lost)
        listen(dict.fromkeys((signal.SIGTERM, signal.SIGINT), lambda number, _: heard.append(number)))
        wait_for(lambda: heard)
        stop_listening()
    assert heard == [signal.SIGTERM]

"""The beat of ``taskq_worker --beat``: a process of its own, for it runs the project's receivers."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from multiprocessing.process import BaseProcess
from time import monotonic

from ..backoff import wait_after
from . import connections
from .assembly import make_beat
from .options import WorkerOptions
from .starter import Starter

logger = logging.getLogger("taskq_django.worker")

# Seconds before it is started again, the second time twice as much, and so on.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
HEALTHY = 60.0  # seconds after which a start counts as a success
LOOK = 0.1  # seconds between two looks at it while it stops
STOPS_WITHIN = 10.0  # seconds; a tick is rolled back when it is killed in the middle


class BeatProcess:
    """Starts it, starts it again when it dies, stops it. The supervisor's loop owns it."""

    def __init__(self, name: str, starter: Starter) -> None:
        """``name``: of the worker."""
        self._name = name
        self._starter = starter
        self._process: BaseProcess | None = None
        self._started_at = self._start_at = float("-inf")
        self._failures = 0

    @property
    def sentinels(self) -> list[int]:
        """Not of one that has ended: at a stop nobody starts it again, and the supervisor would not sleep any more."""
        return [self._process.sentinel] if self._process is not None and self._process.is_alive() else []

    def keep(self, alone: Callable[[], AbstractContextManager[None]]) -> None:
        """Start it, unless it runs or has just died; ``alone``: while no other thread runs here."""
        if self._process is not None and not self._process.is_alive():
            logger.error("The beat died with exit code %s", self._process.exitcode)
            self._process = None
            self._failures = 1 if monotonic() - self._started_at > HEALTHY else self._failures + 1
            self._start_at = monotonic() + wait_after(self._failures, FIRST_WAIT, LONGEST_WAIT)
        if self._process is None and monotonic() >= self._start_at:
            with alone():
                self._start()

    def stop(self, is_urgent: Callable[[], bool]) -> None:
        """Let it finish its tick; not any more once it has become urgent."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        deadline = monotonic() + STOPS_WITHIN
        while self._process.is_alive() and monotonic() < deadline and not is_urgent():
            self._process.join(LOOK)
        if self._process.is_alive():
            self.kill()
            self._process.join()
        self._process = None

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _start(self) -> None:
        with self._starter.ready():
            self._process = self._starter.start(f"{self._name}/beat", "beat")
        self._started_at = monotonic()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._process is not None and self._process.pid:
                os.kill(self._process.pid, number)


def beat_thread(options: WorkerOptions) -> Callable[[], None]:
    """For a worker without processes: keeps a beat in a thread; returns what stops it."""
    beats = [make_beat(options)]
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            try:
                beats[-1].run()
            except BaseException:  # a thread that ends unseen would leave the schedules to nobody
                logger.exception("The beat died; it is started again")
                stopping.wait(FIRST_WAIT)
                beats.append(make_beat(options))
        connections.close()

    thread = threading.Thread(target=run, name="taskq beat", daemon=True)
    thread.start()

    def stop() -> None:
        stopping.set()
        beats[-1].stop()
        thread.join(STOPS_WITHIN)

    return stop

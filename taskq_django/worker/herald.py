"""Has the project's receivers told what became of jobs whose process has died.

In a process of its own, because the supervisor runs nothing of the project's: a receiver may hang, or end its process.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from multiprocessing.process import BaseProcess
from time import monotonic

from ..exceptions import counted
from ..jobs import Outcome, Released
from .announcing import is_heard
from .starter import Starter

logger = logging.getLogger("taskq_django.worker")

AT_ONCE = 1000  # outcomes that one process is given; who has more of them to tell is told of the first ones
LONGEST = 60.0  # seconds that it may take
STOPS_WITHIN = 10.0  # seconds, when the worker ends
LOOK = 0.1  # seconds between two looks at it meanwhile


class Herald:
    """Starts such a process when there is something to tell, one at a time. The supervisor's loop owns it."""

    def __init__(self, name: str, starter: Starter) -> None:
        """``name``: of the worker."""
        self._name = name
        self._starter = starter
        self._untold: list[Outcome] = []
        self._process: BaseProcess | None = None
        self._kill_at = 0.0

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """They are in the store."""
        if is_heard():
            self._untold += [each for each in outcomes if not isinstance(each, Released)]

    def turn(self, alone: Callable[[], AbstractContextManager[None]]) -> None:
        """Look after the process; ``alone``: while no other thread runs here."""
        if self._process is not None:
            if self._process.is_alive() and monotonic() > self._kill_at:
                self.kill()
                self._process.join()
            if self._process.is_alive():
                return
            if self._process.exitcode:
                logger.error("Receivers of signals ended the process that told them of rescued jobs, or took too long")
            self._process = None
        if self._untold:
            told, self._untold = self._untold[:AT_ONCE], self._untold[AT_ONCE:]
            with alone(), self._starter.ready():
                self._process = self._starter.start(f"{self._name}/herald", "herald", told)
            self._kill_at = monotonic() + LONGEST

    def finish(self, alone: Callable[[], AbstractContextManager[None]], is_urgent: Callable[[], bool]) -> None:
        """Tell the rest; not any more once it has become urgent."""
        deadline = monotonic() + STOPS_WITHIN
        while monotonic() < deadline and not is_urgent():
            self.turn(alone)
            if self._process is None:
                break
            self._process.join(LOOK)
        if self._process is not None or self._untold:
            logger.warning("Receivers were not told of %s", counted(len(self._untold) or 1, "rescued job"))
            self.kill()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            if self._process is not None and self._process.pid:
                os.kill(self._process.pid, signal.SIGKILL)

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

from ..exceptions import counted, one_line
from ..jobs import Outcome, Released
from .announcing import is_heard
from .starter import Starter

logger = logging.getLogger("taskq_django.worker")

AT_ONCE = 1000  # outcomes that one process is given
MOST_UNTOLD = 20_000
LONGEST = 60.0  # seconds that it may take
LATER = 5.0  # seconds, when it could not be started
STOPS_WITHIN = 10.0  # seconds, when the worker ends
LOOK = 0.1  # seconds between two looks at it meanwhile


class Herald:
    """Starts such a process when there is something to tell, one at a time. The supervisor's loop owns it."""

    def __init__(self, name: str, starter: Starter) -> None:
        """``name``: of the worker."""
        self._name = name
        self._starter = starter
        self._untold: list[Outcome] = []
        self._telling = 0  # how many the process was given
        self._process: BaseProcess | None = None
        self._kill_at = self._start_at = 0.0

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """They are in the store."""
        if not is_heard():
            return
        self._untold += [each for each in outcomes if not isinstance(each, Released)]
        if (beyond := len(self._untold) - MOST_UNTOLD) > 0:
            logger.error("Receivers are too slow: they are not told of %s", counted(beyond, "rescued job"))
            del self._untold[MOST_UNTOLD:]

    def turn(self, alone: Callable[[], AbstractContextManager[None]]) -> None:
        """Look after the process; ``alone``: while no other thread runs here."""
        if (process := self._process) is not None:
            if process.is_alive() and monotonic() > self._kill_at:
                self.kill()
                process.join()
            if process.is_alive():
                return
            if process.exitcode:
                logger.error("Receivers of signals ended the process that told them of rescued jobs, or took too long")
            self._process = None
        if not self._untold or monotonic() < self._start_at:
            return
        told = self._untold[:AT_ONCE]
        try:
            with alone(), self._starter.ready():
                self._process = self._starter.start(f"{self._name}/herald", "herald", told)
        except OSError as error:  # the system has no room for one more process
            logger.warning("Receivers are told later of what was rescued: %s", one_line(error))
            self._start_at = monotonic() + LATER
            return
        del self._untold[:AT_ONCE]
        self._telling = len(told)
        self._kill_at = monotonic() + LONGEST

    def finish(self, alone: Callable[[], AbstractContextManager[None]], is_urgent: Callable[[], bool]) -> None:
        """Tell the rest; not any more once it has become urgent."""
        deadline = monotonic() + STOPS_WITHIN
        while monotonic() < deadline and not is_urgent():
            self.turn(alone)
            if self._process is None:
                break
            self._process.join(LOOK)
        is_telling = self._process is not None and self._process.is_alive()
        if untold := len(self._untold) + self._telling * is_telling:
            logger.warning("Receivers were not told of %s", counted(untold, "rescued job"))
        if is_telling:
            self.kill()

    def kill(self) -> None:
        process = self._process  # the thread of the last resort asks too
        if process is not None and process.pid:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

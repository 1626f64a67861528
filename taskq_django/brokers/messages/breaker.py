"""Keeps callers from waiting for an engine that does not answer: they are told at once, while a thread looks for it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from ...backoff import wait_after
from ...exceptions import BrokerError, BrokerUnavailable, clause
from .transport import Transport

logger = logging.getLogger("taskq_django.broker")

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two looks for an engine that is away


class Breaker:
    """One for each engine and process; any thread."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._error = ""  # why it is away; "": it is not, as far as is known
        self._pid = 0  # of the process whose thread looks for it

    def call(self, act: Callable[[], T]) -> T:
        """What ``act`` returns. Raises its BrokerUnavailable, and the same at once while the engine is away.

        One that answers is not: who reads of it must not wait for whom it refuses.
        """
        if self._error and self._pid == os.getpid():
            raise BrokerUnavailable(f"{self._error}; it has been looked for since.", known=True)
        try:
            return act()
        except BrokerUnavailable as error:
            if not error.answers:
                self._open(error)
            raise

    def _open(self, error: BrokerUnavailable) -> None:
        with self._lock:
            if self._error and self._pid == os.getpid():
                return
            self._error, self._pid = clause(error), os.getpid()
        name = f"taskq: looks for {self._transport.describe()}"
        threading.Thread(target=self._look, name=name, daemon=True).start()

    def _look(self) -> None:
        """Until it answers, whatever it says."""
        away_since, failures = monotonic(), 0
        while True:
            failures += 1
            sleep(wait_after(failures, FIRST_PAUSE, LONGEST_PAUSE))
            try:
                self._transport.queues()
            except BrokerUnavailable:
                continue
            except BrokerError:
                pass
            except Exception:
                logger.exception("The look for a broker that is away has failed")
                continue
            logger.info("The broker answers again, after %.1f s", monotonic() - away_since)
            self._error = ""
            return

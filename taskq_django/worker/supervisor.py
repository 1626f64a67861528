"""Starts processes, passes signals on, renews the lease, replaces what dies. Runs no task and has no thread.

Signals only append to a list; the loop below acts on them.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from django.db import DatabaseError, InterfaceError

from .lease import Lease, new_worker_id
from .process import STOP_SIGNALS, WorkerOptions, close_connections, run_child
from .spawned import run_spawned

logger = logging.getLogger("taskq_django.worker")

LOOK = 1.0  # seconds between two looks at the children when nothing happens
# A process that dies so soon after its start is started again with growing waits.
TOO_SOON = 5.0


class Supervisor:
    """1. start the processes · 2. stop them when asked · 3. renew the lease · 4. replace a dead one."""

    def __init__(self, options: WorkerOptions, lease: Lease) -> None:
        self._options = options
        self._lease = lease
        self._children: dict[str, BaseProcess] = {}
        self._started_at: dict[str, float] = {}
        self._signals: list[int] = []  # signal handlers append, the loop takes
        self._stop_signals = 0
        self._codes: list[int] = []
        self._failures = 0  # in a row, each soon after its start
        self._start_at = 0.0  # monotonic; when the next replacement may start
        # Its other end is in every process: it becomes readable there when this process is gone, however it went.
        self._context = multiprocessing.get_context(start_method())
        self._lifeline, self._our_end = self._context.Pipe(duplex=False)

    def run(self) -> int:
        """Until every process has ended; the exit code is the worst of theirs."""
        self._lease.renew()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: self._signals.append(number))
        # The wait below is cut short by a byte in here whenever a signal comes.
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._start(self._options.processes)
        while self._children or self._is_short():
            wait([child.sentinel for child in self._children.values()] + [woken], timeout=self._pause())
            with suppress(BlockingIOError):
                os.read(woken, 4096)
            self._act_on_signals()
            self._collect()
            self._lease.renew()
            if self._is_short() and monotonic() >= self._start_at:
                self._start(self._options.processes - len(self._children))
        self._lease.forget([self._lease.worker_id])
        return max(self._codes, default=0)

    def _pause(self) -> float:
        return max(0.0, min(LOOK, self._start_at - monotonic())) if self._is_short() else LOOK

    def _is_short(self) -> bool:
        """Is a process missing that should be there?"""
        ends_by_itself = self._options.burst or self._options.max_tasks is not None
        return not self._stop_signals and not ends_by_itself and len(self._children) < self._options.processes

    def _start(self, count: int) -> None:
        close_connections()  # ours would be shared with the child
        gc.collect()
        gc.freeze()  # what is loaded by now stays on pages that parent and children share
        begun: list[tuple[str, int]] = []
        forks = self._context.get_start_method() == "fork"
        # A child takes no signal before its own handlers stand; what comes until then waits for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        for _ in range(count):
            worker_id = new_worker_id(self._options.name)
            target: Any = run_child if forks else run_spawned
            arguments: Sequence[Any] = (
                (self._options, worker_id, self._lifeline, self._our_end)
                if forks
                # Its own classes cannot be sent to a process in which Django is not set up.
                else (asdict(self._options), worker_id, self._lifeline)
            )
            child = self._context.Process(  # type: ignore[attr-defined]
                target=target, args=arguments, name=worker_id
            )
            child.start()
            self._children[worker_id] = child
            self._started_at[worker_id] = monotonic()
            begun.append((worker_id, child.pid or 0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        gc.unfreeze()
        self._register(begun)

    def _register(self, begun: list[tuple[str, int]]) -> None:
        try:
            self._lease.register(begun)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("New processes could not be registered: %s", " ".join(str(error).split()))

    def _act_on_signals(self) -> None:
        while self._signals:
            self._signals.pop(0)
            self._stop_signals += 1
            number = signal.SIGTERM if self._stop_signals == 1 else signal.SIGQUIT
            if self._stop_signals == 1:
                logger.info("Stopping; once more to stop now")
            for child in self._children.values():
                if child.pid and child.is_alive():
                    os.kill(child.pid, number)

    def _collect(self) -> None:
        """Note the processes that have ended."""
        ended = [worker_id for worker_id, child in self._children.items() if not child.is_alive()]
        for worker_id in ended:
            child = self._children.pop(worker_id)
            code = child.exitcode or 0
            lived = monotonic() - self._started_at.pop(worker_id)
            if code < 0 or (code and not self._stop_signals):
                logger.error("Process %s died: %s", worker_id, _cause(code))
                self._failures = self._failures + 1 if lived < TOO_SOON else 0
                self._start_at = monotonic() + (min(30.0, 0.5 * 2**self._failures) if self._failures else 0.0)
                code = 1
            self._codes.append(code if self._stop_signals or self._options.burst or self._options.max_tasks else 0)
        if ended:
            self._lease.forget(ended)


def _cause(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def start_method() -> str:
    """Fork shares the loaded project between processes; but a fork of a process with threads can hang."""
    if sys.platform == "linux" and threading.active_count() == 1:
        return "fork"
    return "spawn"

"""Starts the processes of one worker: forked from this one where that is possible, else spawned."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from typing import Any

from . import connections
from .listening import held_back
from .options import WorkerOptions
from .process import live
from .spawned import run_spawned


class Starter:
    """The supervisor's loop owns it."""

    def __init__(self, options: WorkerOptions) -> None:
        self.context: Any = multiprocessing.get_context(start_method())
        self._options = options
        # Its other end is in every process: it becomes readable there when this process is gone, however it went.
        self._lifeline, self._our_end = self.context.Pipe(duplex=False)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Round every start: what the copies must not share is closed, what they can is put out of the way."""
        connections.close()
        gc.collect()
        gc.freeze()  # what is loaded by now stays on pages that parent and children share
        # A process takes no signal before its own handlers stand; what comes until then waits for it.
        with held_back():
            yield
        gc.unfreeze()

    def start(self, name: str, life: str, *given: Any) -> BaseProcess:
        """``life``: a key of ``process.LIVES``, which gets what is given."""
        target: Callable[..., None]
        if self.context.get_start_method() == "fork":
            target, arguments = live, (life, self._options, self._lifeline, self._our_end, *given)
        else:
            # Its own classes cannot be sent to a process in which Django is not set up.
            target, arguments = run_spawned, (life, asdict(self._options), self._lifeline, *given)
        started: BaseProcess = self.context.Process(target=target, args=arguments, name=name)
        started.start()
        return started


def start_method() -> str:
    """Fork shares the loaded project between processes; but a fork of a process with threads can hang."""
    if sys.platform == "linux" and threading.active_count() == 1:
        return "fork"
    return "spawn"

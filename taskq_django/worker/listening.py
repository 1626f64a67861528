"""The signals that a process of ours listens to, so that nothing which a task starts inherits them.

A program that is executed keeps what was ignored and what was blocked, and a copy of this process (a fork) all of it.
So nothing is ever ignored here, and blocked only round our own forks; every copy gets back what was in force before.
Imports nothing of ours: a process that was spawned listens before Django is set up.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Act = Callable[[int, Any], object]

STOP_SIGNALS = frozenset(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGQUIT") if hasattr(signal, name))
# What a terminal sends to all when it closes, often twice: a stop as by SIGTERM, but never the second one.
HANGUP = frozenset(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))
# What the processes of a worker are sent.
SENT = STOP_SIGNALS | HANGUP | frozenset(getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name))

_before: dict[int, Any] = {}  # what was in force when this process began to listen
_came: list[int] = []  # before it knew what to do about them


def listen(acts: Mapping[int, Act]) -> None:
    """What to do about these signals from now on; what has come already is done at once. Main thread only.

    A hangup that is ignored stays so: that is what ``nohup`` is for.
    """
    for number, act in acts.items():
        if number in HANGUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        before = signal.signal(number, act)
        _before.setdefault(number, signal.SIG_DFL if before is None else before)
    early, _came[:] = _came[:], []
    for number in early:
        if number in acts:
            acts[number](number, None)


def stop_listening() -> None:
    """As it was before."""
    for number, before in _before.items():
        signal.signal(number, before)
    _before.clear()


def disregard(number: int, frame: Any) -> None:
    """For a signal that is none of its business. SIG_IGN would be inherited by what it executes."""


def note() -> None:
    """First thing in a process of ours: what it is sent, also while it was held back, waits until it can act on it."""
    listen(dict.fromkeys(SENT, lambda number, _: _came.append(number)))
    if hasattr(signal, "pthread_sigmask"):  # not on Windows, where nothing was held back
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals wait meanwhile, here and in the processes that are started: there until ``note``."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT)


# --- forks, a supervisor's or a task's: to stop the copy must not stop, or wake, the original ----------------------

_forking = threading.local()  # its ``blocked``: what was so in this thread before


def _hold_back() -> None:
    """What the copy is sent at once must find it as it is to be."""
    _forking.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SENT) if _before else None


def _go_on() -> None:
    if _forking.blocked is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _forking.blocked)


def _forget() -> None:
    if _before:
        signal.set_wakeup_fd(-1)
        stop_listening()
        _came.clear()
    _go_on()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_back, after_in_parent=_go_on, after_in_child=_forget)

"""The lives of processes: a worker's, its beat's, and both in one. The exit code says how it ended."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from .. import signals
from ..backend import brokers_of
from ..jobs import Outcome
from . import listening, stacks
from .announcing import announce
from .assembly import limit_waits, make_beat, make_leases, make_loop, new_board, unlimit_waits
from .blackboard import Blackboard
from .last_resort import LastResort
from .lease import new_worker_id
from .loop import GRACE_EXPIRED, Loop
from .maintenance import Maintenance
from .offspring import end_all, offspring_of
from .options import WorkerOptions
from .probes import Probes

logger = logging.getLogger("taskq_django.worker")


def live(life: str, options: WorkerOptions, lifeline: Connection, other_end: Connection | None, *given: Any) -> None:
    """What a process does that a supervisor has started, in one of LIVES; never returns.

    ``lifeline`` becomes readable when the supervisor, who holds its other end, is gone.
    """
    if other_end is not None:
        other_end.close()  # a copy that the fork has made: it would keep the line alive
    listening.note()  # before any thread is made, because a thread and its children inherit which signals are blocked
    code = LIVES[life](options, lifeline.fileno(), *given)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # nobody reads it any more, or a task has closed it
            stream.flush()
    # Past the interpreter's own end, which would wait for threads whose tasks did not come back.
    os._exit(code)


def _run_child(options: WorkerOptions, lifeline: int, worker_id: str, board: Blackboard) -> int:
    limit_waits(brokers_of(options.backends).values(), options.lease)
    loop = make_loop(options, worker_id, board)
    listening.listen(
        {
            signal.SIGTERM: lambda *_: loop.stop(),
            signal.SIGQUIT: lambda *_: loop.stop_now(),
            signal.SIGUSR1: lambda *_: stacks.write(loop.pool.running()),
            # Ctrl-C, and the end of a terminal, reach its whole group, but to stop is the supervisor's decision.
            **dict.fromkeys((signal.SIGINT, *listening.HANGUP), listening.disregard),
        }
    )
    loop.lifelines = (lifeline,)
    board.serves()
    code = run_loop(loop)
    board.ended()
    if any(loop.pool.running()):  # these end here, and so must what they have started: their jobs are to run again
        end_all(offspring_of(os.getpid()))
    return code


def _run_beat(options: WorkerOptions, lifeline: int) -> int:
    beat = make_beat(options)
    acts: dict[int, listening.Act] = dict.fromkeys(listening.SENT, listening.disregard)  # Ctrl-C is the supervisor's
    listening.listen(acts | dict.fromkeys((signal.SIGTERM, signal.SIGQUIT), lambda *_: beat.stop()))
    beat.lifelines = (lifeline,)
    beat.run()
    return 0


def _run_herald(options: WorkerOptions, lifeline: int, outcomes: Sequence[Outcome]) -> int:
    listening.listen(dict.fromkeys(listening.SENT, listening.disregard))  # it ends soon, or its supervisor kills it
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    unlimit_waits(brokers_of(options.backends).values())  # those of the supervisor, whose copy this may be
    name = f"{options.name}/herald"
    signals.worker_started.announce(None, worker_id=name)  # what sends things to elsewhere begins and ends by these
    announce(outcomes)
    signals.worker_stopping.announce(None, worker_id=name)
    return 0


def _end_with(lifeline: int) -> None:
    """A receiver that never comes back must not outlive the supervisor, who would end it."""
    wait([lifeline])
    os._exit(1)


LIVES: dict[str, Callable[..., int]] = {"child": _run_child, "beat": _run_beat, "herald": _run_herald}


def run_here(options: WorkerOptions, probes: Probes, are_done: Callable[[], bool] = lambda: False) -> int:
    """Be worker and process in one: the calling thread becomes the loop (``-p 0``), until ``are_done`` says so.

    A loop that must be replaced (its lease was lost, or a run does not come back) is followed by another one.
    """
    brokers = brokers_of(options.backends).values()
    leases = make_leases(options, brokers)
    limit_waits(brokers, options.lease)
    maintenance = Maintenance(brokers, leases, every=options.maintenance, tell=announce)
    try:
        while True:
            board, worker_id = new_board(options), new_worker_id(options.name)
            leases.register()
            leases.enrol({worker_id: os.getpid()}, {worker_id: board})
            loop = make_loop(options, worker_id, board)

            def each_turn(loop: Loop = loop, board: Blackboard = board) -> None:
                is_held = leases.renew()
                is_ready = maintenance.is_whole and not board.is_leaving
                probes.turned(is_ready=is_ready, is_stopping=loop.is_stopping)
                if is_held:
                    if leases.heed(is_stopping=loop.is_stopping) and not loop.is_stopping:
                        logger.info("Somebody has asked this worker to stop")
                        loop.stop()
                    maintenance.turn(loop.worker_id)
                elif not board.is_leaving:
                    logger.warning("Others have counted this worker as lost; it goes on under a new id")
                    loop.leave()
                if not loop.is_stopping and are_done():
                    loop.stop()

            loop.each_turn = each_turn
            restore = _listen_to_signals(loop)
            try:
                code = run_loop(loop)
            finally:
                leases.leave()  # while a second signal still ends this, whatever it waits for
                restore()
            if loop.is_stopping or not board.is_leaving:
                return code
    finally:
        unlimit_waits(brokers)  # the caller goes on


def run_loop(loop: Loop) -> int:
    signals.worker_started.announce(None, worker_id=loop.worker_id)
    try:
        code = loop.run()
        loop.counting.end()
        return code
    finally:
        signals.worker_stopping.announce(None, worker_id=loop.worker_id)


def _listen_to_signals(loop: Loop) -> Callable[[], None]:
    """TERM and INT stop the loop, a second one at once, and HUP; returns what puts the old behaviour back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None  # only the main thread may set handlers; a worker in another is stopped by ``stop``

    def asked(number: int, frame: Any) -> None:
        loop.stop_now() if loop.is_stopping or last_resort.is_urgent else loop.stop()

    last_resort = LastResort(GRACE_EXPIRED)
    acts: dict[int, listening.Act] = {signal.SIGTERM: asked, signal.SIGINT: asked}
    acts |= dict.fromkeys(listening.HANGUP, lambda *_: loop.stop())
    if hasattr(signal, "SIGUSR1"):
        acts[signal.SIGUSR1] = lambda *_: stacks.write(loop.pool.running())
    listening.listen(acts)

    def restore() -> None:
        last_resort.close()
        listening.stop_listening()

    return restore

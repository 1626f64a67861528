"""Starts processes, passes signals on, renews the lease, replaces and rescues what dies. Runs no task.

Its one thread, the last resort, rests while it forks.

Signals only leave a note; the loop below acts on them.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import wait
from time import monotonic

from ..backend import databases_of
from ..backoff import wait_after
from ..brokers import Broker
from ..exceptions import BrokerError, EngineUnavailable, clause, counted
from ..store.connections import patience_of
from .assembly import limit_waits, make_leases, new_board
from .beat_process import BeatProcess
from .child import Child
from .last_resort import LastResort
from .lease import new_worker_id
from .listening import disregard, listen
from .loop import GRACE_EXPIRED
from .maintenance import Maintenance
from .options import WorkerOptions
from .reloading import Sources
from .rescue import Death, rescue
from .starter import Starter

logger = logging.getLogger("taskq_django.worker")

LOOK = 1.0  # seconds between two looks at the children when nothing happens
SOON = 0.1  # and while something is about to
ENGINE_WAIT = 1.0  # seconds at most for an answer of an engine: meanwhile nobody looks after the children
# Seconds before a process is started again that died before its loop ran, the second time twice as much, and so on.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
WAIT_AFTER_SERVICE = 2.0  # at most, before one that has served, ended no job and died at once is started again
PASSED_ON = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()
HEARD = (signal.SIGTERM, signal.SIGINT, *PASSED_ON)


class Supervisor:
    """1. start the processes · 2. stop them when asked · 3. renew the lease · 4. replace and rescue the dead ones."""

    def __init__(self, options: WorkerOptions, brokers: Iterable[Broker], sources: Sources | None = None) -> None:
        """``sources``: are watched, and when one changes ``run`` ends with ``reloads`` set."""
        self._options = options
        self._brokers = list(brokers)
        self._leases = make_leases(options, self._brokers)
        self._maintenance = Maintenance(self._brokers, self._leases, every=options.maintenance)
        self._children: list[Child] = []
        self._deaths: list[tuple[Broker, str, Death]] = []  # whose jobs there are not rescued yet
        self._rescue_at = 0.0  # monotonic; when to try again what could not be settled
        self._signals: list[int] = []  # that have come, and are not acted on yet
        self._stop_signals = 0
        self._sources = sources
        self.reloads = False
        self._codes: list[int] = []
        self._failures = 0  # in a row, each before it served
        self._start_at = 0.0  # monotonic; when the next replacement may start
        self._starter = Starter(options)
        self._beat = BeatProcess(options.name, self._starter) if options.beat else None

    def run(self) -> int:
        """Until every process has ended; the exit code is the worst of theirs."""
        limit_waits(self._brokers, self._options.lease, ENGINE_WAIT)
        self._leases.register()
        self._last_resort = LastResort(GRACE_EXPIRED, self._kill_all)
        listen(dict.fromkeys(HEARD, disregard))  # they are read below
        self._replace()
        while self._children or self._missing():
            beat = self._beat.sentinels if self._beat else []
            wait([*(child.sentinel for child in self._children), *beat, self._last_resort.heard], timeout=self._pause())
            with suppress(BlockingIOError):
                self._signals.extend(number for number in os.read(self._last_resort.heard, 4096) if number in HEARD)
            self._act_on_signals()
            self._renew()
            self._collect()
            self._kill_frozen()
            self._rescue()
            self._maintenance.turn(self._leases.worker_id)
            self._look_at_sources()
            self._replace()
            if self._beat and not (self._stop_signals or self.reloads):
                self._beat.keep(self._last_resort.rests)
        if self._beat:
            self._beat.stop(lambda: self._last_resort.is_urgent)
        self._rescue()
        self._leases.leave()
        self._last_resort.close()
        return max(self._codes, default=0)

    def _kill_all(self) -> None:
        for child in self._children:
            child.kill()
        if self._beat:
            self._beat.kill()

    def _pause(self) -> float:
        if self._can_rescue or self._missing() or self._last_resort.is_urgent:
            return SOON
        return min(LOOK, self._options.heartbeat, self._maintenance.seconds_left())

    def _missing(self) -> int:
        """How many processes should be there and are not."""
        if self._stop_signals or self.reloads or (self._ends_by_itself and self._codes):
            return 0
        return max(0, self._options.processes - sum(not child.is_leaving for child in self._children))

    @property
    def _ends_by_itself(self) -> bool:
        return self._options.burst or self._options.max_tasks is not None

    def _replace(self) -> None:
        if not (missing := self._missing()) or monotonic() < self._start_at:
            return
        with self._last_resort.rests(), self._starter.ready():
            begun = [self._start_one(new_worker_id(self._options.name)) for _ in range(missing)]
        self._children += begun
        self._leases.enrol(
            {child.worker_id: child.pid for child in begun}, {child.worker_id: child.board for child in begun}
        )

    def _start_one(self, worker_id: str) -> Child:
        board = new_board(self._options, self._starter.context)
        return Child(worker_id, self._starter.start(worker_id, "child", worker_id, board), board)

    def _act_on_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number in PASSED_ON:
                for child in self._children:
                    child.send(number)
                continue
            self._stop_signals += 1
            self.reloads = False  # it was about to start anew
            if self._sources is not None:
                self._sources.stop()
            if self._stop_signals == 1:
                logger.info("Stopping; once more to stop now")
            for child in self._children:
                child.stop(self._options.grace, now=self._stop_signals > 1)

    def _look_at_sources(self) -> None:
        if self._sources is None or self.reloads or self._stop_signals:
            return
        if path := self._sources.loadable_change():
            logger.info("%s changed; starting anew", path)
            self.reloads = True
            for child in self._children:
                child.stop(self._options.grace)

    def _renew(self) -> None:
        if self._leases.renew():
            return
        logger.warning("Others have counted this worker as lost; it goes on under a new id, with new processes")
        self._leases.register()
        for child in self._children:
            child.stop(self._options.grace)

    def _kill_frozen(self) -> None:
        for child in self._children:
            if reason := child.frozen(monotonic(), self._options.grace, patience_of(self._options.lease)):
                logger.error("Process %s %s; it is killed", child.worker_id, reason)
                child.kill()

    def _collect(self) -> None:
        """Note the processes that have ended, and what they leave behind."""
        for child in [child for child in self._children if not child.is_alive]:
            self._children.remove(child)
            self._leases.disown(child.worker_id)
            if not child.board.has_ended and not child.killed:
                logger.error("Process %s died: %s", child.worker_id, child.cause)
                self._failures = 0 if child.has_proved_itself else self._failures + 1
                self._start_at = monotonic() + self._wait_after(child)
            if self._stop_signals or (self._ends_by_itself and not child.has_been_replaced):
                self._codes.append(child.exit_code)
            death = child.death()
            self._deaths += [(broker, child.worker_id, death) for broker in self._brokers]
            self._rescue_at = 0.0  # the jobs of this one do not wait for what could not be settled of another

    def _wait_after(self, child: Child) -> float:
        """Seconds before the next one is started. One that served dies by its jobs: these have three lives each."""
        if not child.board.has_served:
            return wait_after(self._failures, FIRST_WAIT, LONGEST_WAIT)
        return wait_after(self._failures - 1, FIRST_WAIT, WAIT_AFTER_SERVICE) if self._failures > 1 else 0.0

    @property
    def _can_rescue(self) -> bool:
        return monotonic() >= self._rescue_at and any(
            self._leases.holds(broker.database) for broker, _, _ in self._deaths
        )

    def _rescue(self) -> None:
        """Settle what the dead have left; what cannot be settled now is tried again."""
        if not self._can_rescue:
            return
        away: set[str] = set()  # databases: those of an engine need nobody but it
        for in_store in (True, False):  # all rows first, because an engine that is mute takes its time to say nothing
            left = [each for each in self._deaths if not self._rescue_one(*each, away, in_store)]
        for database in databases_of(self._brokers):
            dead, waiting = _dead_in(database, self._deaths), _dead_in(database, left)
            if dead - waiting:
                self._leases.forget(database, dead - waiting)
        self._deaths = left

    def _rescue_one(self, broker: Broker, worker_id: str, death: Death, away: set[str], in_store: bool) -> bool:
        """Returns whether it is done. Adds the broker's database to those that are away, if it is."""
        if broker.database in away or not self._leases.holds(broker.database):
            return False
        try:
            if count := rescue(broker, worker_id, death, self._leases.worker_id, in_store):
                logger.warning("Rescued %s of process %s", counted(count, "job"), worker_id)
        except BrokerError as error:
            logger.warning("%s; the jobs of %s wait to be rescued", clause(error), worker_id)
            if not isinstance(error, EngineUnavailable):
                away.add(broker.database)
            self._rescue_at = monotonic() + LOOK
            return False
        return True


def _dead_in(database: str, deaths: Iterable[tuple[Broker, str, Death]]) -> set[str]:
    return {worker_id for broker, worker_id, _ in deaths if broker.database == database}

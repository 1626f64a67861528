"""Starts processes, passes signals on, renews the lease, replaces and rescues what dies. Runs no task.

Its other threads, the last resort and what answers probes, rest while it forks.

Signals only leave a note; the loop below acts on them.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from time import monotonic

from ..backend import databases_of
from ..backoff import wait_after
from ..brokers import Broker
from ..exceptions import BrokerError, EngineUnavailable, clause, counted
from ..store.connections import patience_of
from .assembly import limit_waits, make_leases, new_board
from .beat_process import BeatProcess
from .blackboard import Wanted
from .child import Child
from .crash_record import MANY, CrashRecord
from .herald import Herald
from .last_resort import LastResort
from .lease import new_worker_id
from .listening import HANGUP, disregard, listen
from .loop import GRACE_EXPIRED
from .maintenance import Maintenance
from .options import WorkerOptions
from .probes import Probes
from .reloading import Sources
from .rescue import Death, rescue
from .starter import Starter
from .wards import Wards

logger = logging.getLogger("taskq_django.worker")

LOOK = 1.0  # seconds between two looks at the children when nothing happens
SOON = 0.1  # and while something is about to
ENGINE_WAIT = 1.0  # seconds at most for an answer of an engine: meanwhile nobody looks after the children
# Seconds before a process is started again that died before its loop ran, the second time twice as much, and so on.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
WAIT_AFTER_SERVICE = 2.0  # at most, before one that has served, ended no job and died at once is started again
PASSED_ON = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()
HEARD = (signal.SIGTERM, signal.SIGINT, *HANGUP, *PASSED_ON)


class Supervisor:
    """1. start the processes · 2. stop them when asked · 3. renew the lease · 4. replace and rescue the dead ones."""

    def __init__(
        self, options: WorkerOptions, brokers: Iterable[Broker], probes: Probes, sources: Sources | None = None
    ) -> None:
        """``sources``: are watched, and when one changes ``run`` ends with ``reloads`` set."""
        self._options = options
        self._brokers = list(brokers)
        self._leases = make_leases(options, self._brokers)
        self._starter = Starter(options)
        self._herald = Herald(options.name, self._starter)
        self._maintenance = Maintenance(self._brokers, self._leases, every=options.maintenance, tell=self._herald.take)
        self._children: list[Child] = []
        self._deaths: list[tuple[Broker, str, Death]] = []  # whose jobs there are not rescued yet
        self._rescue_at = 0.0  # monotonic; when to try again what could not be settled
        self._signals: list[int] = []  # that have come, and are not acted on yet
        self._stop_signals = 0
        self._probes = probes
        self._sources = sources
        self.reloads = False
        self._codes: list[int] = []
        self._done = 0  # processes that have found nothing more to do
        self._failures = 0  # in a row, each before it served
        self._start_at = 0.0  # monotonic; when the next replacement may start
        self._record = CrashRecord(self._starter.context)
        self._wards = Wards(self._record)
        self._beat = BeatProcess(options.name, self._starter) if options.beat else None

    def run(self) -> int:
        """Until every process has ended; the exit code is the worst of theirs."""
        self._last_resort = LastResort(GRACE_EXPIRED, self._kill_all)
        listen(dict.fromkeys(HEARD, disregard))  # they are read below
        limit_waits(self._brokers, self._options.lease, ENGINE_WAIT)
        self._leases.register()
        self._replace()
        while self._children or self._missing():
            beat = self._beat.sentinels if self._beat else []
            wait([*(child.sentinel for child in self._children), *beat, self._last_resort.heard], timeout=self._pause())
            with suppress(BlockingIOError):
                self._signals.extend(number for number in os.read(self._last_resort.heard, 4096) if number in HEARD)
            self._act_on_signals()
            self._renew()
            self._probes.turned(
                is_ready=self._maintenance.is_whole and not self.reloads, is_stopping=self._stop_signals > 0
            )
            self._collect()
            self._kill_frozen()
            self._rescue()
            self._maintenance.turn(self._leases.worker_id)
            if not self._last_resort.is_urgent:  # its thread then rests no more, so that nothing can be forked
                self._herald.turn(self._alone)
            self._look_at_sources()
            self._replace()
            if self._beat and not (self._stop_signals or self.reloads):
                self._beat.keep(self._alone)
        if self._beat:
            self._beat.stop(lambda: self._last_resort.is_urgent)
        self._rescue()
        self._herald.finish(self._alone, lambda: self._last_resort.is_urgent)
        self._leases.leave()
        self._last_resort.close()
        return max(self._codes, default=0)

    def _kill_all(self) -> None:
        for child in self._children:
            child.kill()
        self._herald.kill()
        if self._beat:
            self._beat.kill()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Meanwhile no other thread runs here."""
        with self._last_resort.rests(), self._probes.rests():
            yield

    def _pause(self) -> float:
        if self._can_rescue or self._missing() or self._last_resort.is_urgent:
            return SOON
        return min(LOOK, self._options.heartbeat, self._maintenance.seconds_left())

    def _missing(self) -> int:
        """How many processes should be there and are not."""
        if self._stop_signals or self.reloads:
            return 0
        there = sum(not (child.is_leaving or child.worker_id in self._wards) for child in self._children)
        return max(0, self._options.processes - self._done - there)

    @property
    def _ends_by_itself(self) -> bool:
        return self._options.burst or self._options.max_tasks is not None

    def _wanted(self) -> list[Wanted | None]:
        """What is missing (None for each), and wards for suspects. Those of a quiet worker could not begin."""
        wanted: list[Wanted | None] = [None] * self._missing() if monotonic() >= self._start_at else []
        if not (self._stop_signals or self.reloads or self._leases.are_quiet):
            wanted += self._wards.granted(child.board for child in self._children)
        return wanted

    def _replace(self) -> None:
        """Start what is wanted."""
        if not (wanted := self._wanted()):
            return
        with self._alone(), self._starter.ready():
            begun = [self._start_one(new_worker_id(self._options.name), each) for each in wanted]
        self._children += begun
        self._leases.enrol(
            {child.worker_id: child.pid for child in begun}, {child.worker_id: child.board for child in begun}
        )

    def _start_one(self, worker_id: str, wanted: Wanted | None) -> Child:
        board = new_board(self._options, self._starter.context, self._record, wanted)
        if wanted is not None:
            logger.info("Job %s gets a process of its own, because it may be what kills them", wanted.job_id)
            self._wards.opened(worker_id, wanted)
        return Child(worker_id, self._starter.start(worker_id, "child", worker_id, board), board)

    def _act_on_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number in PASSED_ON:
                for child in self._children:
                    child.send(number)
                continue
            if number in HANGUP and self._stop_signals:
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
        if self._sources is None or self._stop_signals:
            return
        # At once when it is about to start anew: what was saved since the trial may not be loadable.
        if path := self._sources.loadable_change(at_once=self.reloads and not self._children):
            logger.info("%s changed; starting anew", path)
            self.reloads = True
            for child in self._children:
                child.stop(self._options.grace)
        elif self._sources.is_on_trial:
            self.reloads = False  # the old code goes on until this has been tried too

    def _renew(self) -> None:
        if self._leases.renew():
            if self._leases.heed(is_stopping=self._stop_signals > 0) and not self._stop_signals:
                logger.info("Somebody has asked this worker to stop")
                self._signals.append(signal.SIGTERM)
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
            is_ward, has_died = child.worker_id in self._wards, not child.board.has_ended
            self._wards.closed(child.worker_id, has_died=has_died)
            if has_died and not child.killed:
                logger.error("Process %s died: %s", child.worker_id, child.cause)
                if not is_ward:
                    self._failures = 0 if child.has_proved_itself else self._failures + 1
                    self._record.be_strict(self._failures >= MANY)
                    self._start_at = monotonic() + self._wait_after(child)
            if self._stop_signals:
                self._codes.append(child.exit_code)
            elif self._ends_by_itself:
                self._count(child, is_ward=is_ward)
            death = child.death()
            self._deaths += [(broker, child.worker_id, death) for broker in self._brokers]
            self._rescue_at = 0.0  # the jobs of this one do not wait for what could not be settled of another

    def _count(self, child: Child, *, is_ward: bool) -> None:
        """Is there one less to do the rest? Not where one has died: what it ran may be ready again, and another
        takes its place.
        """
        if is_ward:
            self._done = max(0, self._done - (not child.board.has_ended))
        elif not (child.has_been_replaced or child.was_struck_down):
            self._codes.append(child.exit_code)
            self._done += 1

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
        if self._record.has_grown:  # so the next one knows more, and need not wait for long
            self._record.has_grown = False
            self._start_at = min(self._start_at, monotonic() + FIRST_WAIT)

    def _rescue_one(self, broker: Broker, worker_id: str, death: Death, away: set[str], in_store: bool) -> bool:
        """Returns whether it is done. Adds the broker's database to those that are away, if it is."""
        if broker.database in away or not self._leases.holds(broker.database):
            return False
        try:
            heir, tell = self._leases.worker_id, self._herald.take
            if count := rescue(broker, worker_id, death, heir, in_store, self._record, tell):
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

"""The whole service of one process: settle → deadlines → claim → sleep.

It owns the brokers; nobody else in this process settles or claims.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from ..backend import databases_of
from ..brokers import Broker
from ..exceptions import counted
from ..jobs import Claim, Outcome, Released
from ..sleeper import Sleeper
from .blackboard import Blackboard
from .deadlines import Deadlines
from .executor import Executor
from .fetcher import Fetcher
from .finisher import Finisher
from .fitness import Fitness
from .held import Held
from .intake import STALLED, Intake
from .options import WorkerOptions
from .pool import ConcurrentPool, InlinePool
from .reach import Reach
from .runners import Surroundings
from .suspects import suspects_of

logger = logging.getLogger("taskq_django.worker")

DONE, GRACE_EXPIRED, UNREACHABLE = 0, 3, 69  # the last is EX_UNAVAILABLE of sysexits.h

# Under load an outcome waits so long for others at most, because one write for many is cheaper.
COMPANY = 0.02  # seconds
# No job begins when this part of a lease has passed without a renewal, because at its end others take over the jobs.
SAFE = 0.9


class Loop:
    """What any thread may call stands first; the rest belongs to the loop thread."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        worker_id: str,
        options: WorkerOptions,
        executor: Executor,
        board: Blackboard,
        *,
        inline: bool = False,  # run the jobs in the calling thread
    ) -> None:
        self.worker_id = worker_id
        self._reach = Reach(brokers, board, is_patient=not options.burst)
        databases = databases_of(brokers.values())
        self._lease_of = {alias: databases.index(broker.database) for alias, broker in brokers.items()}
        self._options = options
        self.sleeper = Sleeper()
        self._held = Held(board)
        self._finisher = Finisher(brokers, self._reach, worker_id, board.record, executor.progress)
        self.counting = self._finisher.counting
        self._executor = executor
        self._board = board
        self._deadlines = Deadlines(self._reach, worker_id, lambda: self.pool.running(), self.sleeper)
        self._again: deque[Claim] = deque()  # taken for sync until their modules were imported
        given = Surroundings(executor, self.done, board, self.again, self._may_begin, self._limited)
        self.pool = InlinePool(given) if inline else ConcurrentPool(given, options.threads, options.coroutines)
        self._fitness = Fitness(self.pool, self._deadlines, self._held, options.max_memory_per_child)
        self._fetcher = Fetcher(self._reach, options.choice, worker_id, self._may_begin)
        suspects = suspects_of(self._held, self._finisher, board, options.backends)
        self._intake = Intake(self._reach, self._fetcher, self.pool, self._held, self._finisher, options, suspects)
        self._wake_at = 1  # how many outcomes the sleeping loop waits for; read by the pool
        self.is_stopping = self._leaving = self._now_asked = self._is_orphan = False  # whose lease nobody renews
        self._flushed_at = self._busy_at = monotonic()  # when something was settled, and when there was work, last
        self.each_turn: Callable[[], None] = lambda: None  # a lease to renew; must return soon
        # What ends the loop like a stop signal when it becomes readable (the supervisor's pipe).
        self.lifelines: Sequence[int] = ()

    # --- any thread -------------------------------------------------------------------------------------------

    def done(self, outcome: Outcome) -> None:
        """The pool has an outcome."""
        self._finisher.take(outcome)
        if self.sleeper.is_asleep and len(self._finisher.inbox) >= self._wake_at:
            self.sleeper.wake()

    def again(self, claim: Claim) -> None:
        """The pool has not begun it: it is a coroutine, as is known only now."""
        self._again.append(claim)
        self.sleeper.wake()

    def _limited(self) -> None:
        """A job with a time limit begins: the loop must not sleep past it."""
        self._deadlines.next_at = 0.0
        if self.sleeper.is_asleep:
            self.sleeper.wake()

    def _may_begin(self, alias: str) -> bool:
        """Are this broker's jobs that are held still ours, for certain, and is there room for what comes of them?

        Asked before each claim and each job; what may not begin goes back un-run.
        """
        age = self._board.lease_age(self._lease_of[alias])
        is_barred = self._board.is_quiet or self._finisher.is_full(alias)
        return age < self._options.lease * SAFE and not is_barred

    def stop(self) -> None:
        """Claim no more, finish what runs within the grace, give the rest back. Signal handlers may call it."""
        self.is_stopping = True
        self.sleeper.wake()

    @property
    def ended(self) -> int:
        """Jobs that have ended here."""
        return self._finisher.ended

    def leave(self) -> None:
        """Ask to be replaced, and end when what runs has ended."""
        self._board.leave()
        self._leaving = True
        self.sleeper.wake()

    def stop_now(self) -> None:
        """Give everything back at once."""
        self._now_asked = True
        self.stop()

    # --- the loop thread --------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until stopped (with ``burst``: until nothing is ready); returns the exit code."""
        if not self._options.burst:
            self._intake.hang_bells()
        try:
            self._serve()
            code = self._drain()
        finally:
            self.pool.close()
            self.sleeper.close()
            self._intake.close()
        if self._options.burst and not self.is_stopping and (why := self._intake.undone):
            logger.error("Not all is done: %s", why)
            return code or UNREACHABLE
        return code

    def _serve(self) -> None:
        while not (self.is_stopping or self._leaving):
            worked = self.step()
            if not worked and not self._finisher.inbox and self._intake.is_finished(monotonic() - self._busy_at):
                return
            if not worked:
                self._rest()

    def step(self) -> bool:
        """One turn; says whether there was anything to do."""
        self._say_alive()
        self._try_who_is_away()
        if self._again:
            self.pool.submit(self._taken_again())
        self._release(self.pool.withdraw(STALLED), began=False)
        settled = self._should_flush() and self._flush()
        self._deadlines.check()
        if fault := self._fitness.fault():
            logger.warning("This process leaves: %s", fault)
            self.leave()
        fetched = self._fetch()
        self._reach.end_trials()
        if settled or fetched:
            self._busy_at = monotonic()
        return settled or fetched

    def _say_alive(self) -> None:
        self._board.turned(monotonic())
        self._deadlines.turned()
        self._executor.progress.write(self._reach)
        self.counting.turn()
        self.each_turn()

    def _taken_again(self) -> list[Claim]:
        return [self._again.popleft() for _ in range(len(self._again))]

    def _fetch(self) -> bool:
        self._fetcher.promote()
        fetched = self._intake.fetch(monotonic() - self._busy_at)
        if fetched and self._intake.is_worn:
            self._board.leave()  # what takes its place starts while the last ones run
        return fetched

    def _should_flush(self) -> bool:
        """At once when no more is about to come; under load, when there is enough for a good group."""
        if (ready := len(self._finisher.inbox)) == 0:
            return False
        is_enough = self.pool.waiting() == 0 or self._finisher.has_a_group or self._reach.is_on_trial
        return is_enough or ready >= self._intake.group // 2 or monotonic() - self._flushed_at >= COMPANY

    def _flush(self) -> bool:
        worked = self._finisher.flush(self._held, self._intake.group)
        self._flushed_at = monotonic()
        self._board.works(self.ended)
        return worked

    def _rest(self) -> None:
        """Sleep until there is something to do, as far as can be known."""
        now, glance = monotonic(), math.inf
        idle = now - self._busy_at
        if self.pool.waiting() > 0:
            self._wake_at = max(1, self._intake.group // 2)
            seconds = min(COMPANY, self._deadlines.next_at - now)
        else:
            self._wake_at = 1
            seconds = self._intake.seconds_to_look(now, idle)
            if self._held:
                seconds = min(seconds, self._deadlines.next_at - now)
            # Must one that answers wait for a lease, or until the results that wait are stored?
            is_held_up = not all(self._may_begin(broker.alias) for broker in self._reach.here())
            if self._options.burst or (is_held_up and not self._board.is_quiet):
                seconds = COMPANY
            glance = self._intake.glance(idle)
        seconds = min(seconds, self._reach.next_try_at - now, self._executor.progress.next_at - now)
        # Looked at once the loop counts as asleep: what comes later wakes it.
        fds = [*self._intake.fds, *self.lifelines]
        readable = self.sleeper.sleep(seconds, fds, unless=self._has_enough, glance=glance, rang=self._intake.rang)
        if any(fd in self.lifelines for fd in readable):
            logger.warning("The supervisor is gone; stopping")
            self.lifelines = ()
            self._is_orphan = self.is_stopping = True

    def _has_enough(self) -> bool:
        return len(self._finisher.inbox) >= self._wake_at

    def _try_who_is_away(self, *, all_of_them: bool = False) -> None:
        for broker in self._reach.begin_trials(all_of_them=all_of_them):
            with self._reach.guard(broker):
                if count := broker.release_unanswered(self.worker_id, self._held):
                    logger.info("Given back: %s of %r whose answer was lost", counted(count, "claim"), broker.alias)
                self._finisher.take_up(broker.alias)

    def _release(self, claims: Sequence[Claim], *, began: bool) -> None:
        self._finisher.inbox.extend(Released(claim, began) for claim in claims)

    def _drain(self) -> int:
        """Finish what runs within the grace and give the rest back."""
        self._release(self.pool.withdraw(), began=False)
        grace = self._options.grace
        if self._is_orphan:
            grace = min(grace, self._options.lease * SAFE - self._board.youngest_lease_age())
        deadline = monotonic() + grace
        self._wake_at, told = 1, False
        while self._coming() and not self._now_asked and (monotonic() < deadline or self._only_waits()):
            self._say_alive()
            self._release(self._taken_again(), began=False)
            self._flush()
            self._deadlines.check()
            if self._finisher.aside:  # last, because to ask who is silent takes seconds
                self._try_who_is_away()
                self._flush()
                self._reach.end_trials()
            if left := self._coming():
                if not told:
                    logger.info("finishing %s (%g s)…", counted(left, "job"), grace)
                    told = True
                ends_at = math.inf if self._only_waits() else deadline
                try_at = self._reach.next_try_at if self._finisher.aside else math.inf
                pause = min(ends_at, try_at, self._deadlines.next_at) - monotonic()
                self.sleeper.sleep(min(pause, 1.0), unless=self._has_enough)
        return self._settle_the_rest()

    def _coming(self) -> int:
        """How many of the jobs that are held will end by themselves, as far as can be known."""
        return sum(id_ not in self._deadlines.stuck for id_ in self._held)

    def _only_waits(self) -> bool:
        """Has all ended that could, and is there a broker to wait for? Only a process that is replaced has the time."""
        return not self.is_stopping and self._coming() <= self._finisher.aside

    def _settle_the_rest(self) -> int:
        """Settle what is still held: this process ends now, and with it what runs."""
        self._try_who_is_away(all_of_them=self._finisher.aside > 0)
        ended = {outcome.claim.job.id for outcome in self._finisher.pending()}
        left = [claim for id_, claim in self._held.items() if id_ not in ended]
        stuck = self._deadlines.stuck
        late = [stuck[claim.job.id] for claim in left if claim.job.id in stuck]
        cut_off = [self._executor.cut_off(each.claim, each.began, each.reason) for each in late]
        back = [claim for claim in left if claim.job.id not in stuck]
        began = {claim.job.id: seat.began for seat, claim in self.pool.running()}
        now = monotonic()
        given_up = [self._executor.given_up(claim, began.get(claim.job.id, now)) for claim in back]
        self._finisher.insist(cut_off)
        if gone := self._finisher.insist(given_up):
            why = "Told to stop at once" if self._now_asked else "The grace is over"
            logger.warning("%s: %s given back, or failed for good", why, counted(len(gone), "job"))
        while self._finisher.inbox:
            self._flush()
        if self._finisher.aside:
            logger.error("%s could not be given back, or ended: still RUNNING", counted(self._finisher.aside, "job"))
        return GRACE_EXPIRED if gone else DONE

"""The whole service of one process: settle → claim → sleep. It owns the brokers; nobody else settles or claims."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from ..brokers import Broker
from ..brokers.base import Bell
from ..exceptions import BrokerUnavailable
from ..jobs import Claim, Outcome, Returned
from .fetcher import Fetcher, QueueChoice
from .finisher import Finisher
from .pool import Pool
from .sleeper import Sleeper

logger = logging.getLogger("taskq_django.worker")

DONE, GRACE_EXPIRED = 0, 3

# A claim that waits so long for a slot is given back: another worker may have one free.
STALLED = 1.0  # seconds
# Outcomes wait at most so long for company while more are coming.
COMPANY = 0.02
# What is claimed beyond the slots, by the mean run time: short jobs must not wait for a round trip each, and of
# long ones nobody should hold more than it runs.
SHORT, MIDDLING = 0.005, 0.1
# Jobs shorter than this travel in larger groups: with them a round trip to the store is all that takes time.
TINY, MANY = 0.001, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    batch: int = 100
    grace: float = 25.0
    burst: bool = False
    max_tasks: int | None = None


class Loop:
    """Every method but ``stop``, ``stop_now`` and ``done`` belongs to the loop thread."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        choice: QueueChoice,
        worker_id: str,
        options: LoopOptions,
        make_pool: Callable[[Callable[[Outcome], None]], Pool],
    ) -> None:
        self.worker_id = worker_id
        self._brokers = brokers
        self._options = options
        self.sleeper = Sleeper()
        self._fetcher = Fetcher(brokers, choice, worker_id)
        self._finisher = Finisher(brokers, worker_id)
        self._pool = make_pool(self.done)
        self._held: dict[str, Claim] = {}
        self._wake_at = 1  # how many outcomes the sleeping loop waits for; read by the pool
        self._stop_asked = False
        self._now_asked = False
        self._claimed = 0
        self._flushed_at = monotonic()
        # One a database: brokers on the same one share the loop's connection to it.
        self._bells: list[Bell] = []
        self._busy_at = monotonic()  # when there was work last
        self._outages = 0
        # Called each turn by the loop thread (a lease to renew); must return soon.
        self.each_turn: Callable[[], None] = lambda: None
        # What ends the loop like a stop signal when it becomes readable (the supervisor's pipe).
        self.lifelines: Sequence[int] = ()

    # --- any thread -------------------------------------------------------------------------------------------

    def done(self, outcome: Outcome) -> None:
        """The pool has an outcome."""
        inbox = self._finisher.inbox
        inbox.append(outcome)
        if self.sleeper.is_asleep and len(inbox) >= self._wake_at:
            self.sleeper.wake()

    def stop(self) -> None:
        """Claim no more, finish what runs within the grace, give the rest back. Signal handlers may call it."""
        self._stop_asked = True
        self.sleeper.wake()

    @property
    def is_stopping(self) -> bool:
        return self._stop_asked

    def stop_now(self) -> None:
        """Give everything back at once."""
        self._now_asked = True
        self.stop()

    # --- the loop thread --------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until stopped (with ``burst``: until nothing is ready); returns the exit code."""
        if not self._options.burst:
            self._bells = list({broker.database: broker.bell() for broker in self._brokers.values()}.values())
        try:
            self._serve()
            return self._drain()
        finally:
            self._pool.close()
            self.sleeper.close()

    def _serve(self) -> None:
        while not self._stop_asked:
            try:
                if self._outages:
                    self._come_back()
                worked = self.step()
                if not worked and self._is_finished():
                    return
                if not worked:
                    self._rest()
            except BrokerUnavailable as error:
                self._sit_out(error)

    def step(self) -> bool:
        """One turn; says whether there was anything to do."""
        self.each_turn()
        self._give_back(self._pool.withdraw(STALLED), began=False)
        settled = self._should_flush() and self._flush()
        self._fetcher.promote()
        fetched = self._fetch()
        if settled or fetched:
            self._busy_at = monotonic()
        return settled or fetched

    @property
    def ended(self) -> int:
        """Jobs that have ended here."""
        return self._finisher.ended

    def _should_flush(self) -> bool:
        """At once when no more is about to come; under load, when there is enough for a good group."""
        ready = len(self._finisher.inbox)
        if ready == 0:
            return False
        alone = self._pool.waiting() == 0
        return alone or ready >= self._group // 2 or monotonic() - self._flushed_at >= COMPANY

    def _flush(self) -> bool:
        worked = self._finisher.flush(self._held, self._group)
        self._flushed_at = monotonic()
        return worked

    @property
    def _group(self) -> int:
        """How many jobs are claimed, or settled, in one round trip."""
        return self._options.batch * (MANY if self._finisher.mean_run < TINY else 1)

    def _ahead(self) -> int:
        if not self._pool.has_backlog:
            return 0
        mean, group = self._finisher.mean_run, self._group
        return group * 2 if mean < SHORT else group // 2 if mean < MIDDLING else 0

    def _fetch(self) -> bool:
        ahead, held, group = self._ahead(), len(self._held), self._group
        wanted = min(self._pool.slots + ahead - held, group)
        if self._options.max_tasks is not None:
            wanted = min(wanted, self._options.max_tasks - self._claimed)
        # While a backlog keeps the slots busy, half of it is waited for: a claim of ten costs what one of fifty does.
        if wanted <= 0 or (wanted < min(ahead, group) // 2 and self._pool.waiting() > 0):
            return False
        if not self._fetcher.has_candidates:
            if not self._may_look():
                return False
            self._fetcher.look()
        claims = self._fetcher.fetch(wanted)
        if not claims:
            return False
        self._claimed += len(claims)
        for claim in claims:
            self._held[claim.job.id] = claim
        self._pool.submit(claims)
        return True

    def _may_look(self) -> bool:
        if self._options.burst:
            return True
        now = monotonic()
        rang = [bell.rang() for bell in self._bells]  # every one, so that none keeps an old ring
        since, idle = now - self._fetcher.looked_at, now - self._busy_at
        return any(rang) or any(since >= bell.patience(idle) for bell in self._bells)

    def _is_finished(self) -> bool:
        if self._held or self._finisher.inbox:
            return False
        if self._options.max_tasks is not None and self._claimed >= self._options.max_tasks:
            return True
        if self._options.burst and not self._fetcher.has_candidates:
            self._fetcher.look()
            return not self._fetcher.has_candidates
        return False

    def _rest(self) -> None:
        """Sleep until there is something to do, as far as can be known."""
        now = monotonic()
        idle = now - self._busy_at
        if self._pool.waiting() > 0:
            self._wake_at = max(1, self._group // 2)
            seconds = COMPANY
        else:
            self._wake_at = 1
            pauses = [glance for bell in self._bells if (glance := bell.glance(idle)) is not None]
            pauses += [self._fetcher.looked_at + bell.patience(idle) - now for bell in self._bells]
            seconds = min([*pauses, self._fetcher.promote_at - now, 1.0])
            if self._options.burst:
                seconds = COMPANY
        fds = [fd for bell in self._bells if (fd := bell.fd) is not None]
        # Looked at once the loop counts as asleep: what comes later wakes it.
        readable = self.sleeper.sleep(seconds, [*fds, *self.lifelines], unless=self._has_enough)
        if any(fd in self.lifelines for fd in readable):
            logger.warning("The supervisor is gone; stopping")
            self.lifelines = ()
            self._stop_asked = True

    def _has_enough(self) -> bool:
        return len(self._finisher.inbox) >= self._wake_at

    def _sit_out(self, error: BrokerUnavailable) -> None:
        """The store cannot be reached: keep what is held and what came of it, and try again later."""
        self._outages += 1
        pause = min(5.0, 0.25 * 2 ** min(self._outages - 1, 8)) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        logger.warning("%s; next try in %.1f s (%d)", error, pause, self._outages)
        self._wake_at = 1 << 30  # outcomes cannot be settled now, so they need not wake anybody
        until = monotonic() + pause
        while not self._stop_asked and (left := until - monotonic()) > 0:
            self.sleeper.sleep(left)

    def _come_back(self) -> None:
        """The first turn after an outage."""
        unanswered = sum(broker.release_unanswered(self.worker_id, self._held) for broker in self._brokers.values())
        logger.info("The broker answers again; %d claims whose answer was lost go back", unanswered)
        self._outages = 0

    def _give_back(self, claims: Sequence[Claim], *, began: bool) -> None:
        self._finisher.inbox.extend(Returned(claim, began) for claim in claims)

    def _drain(self) -> int:
        """Finish what runs within the grace and give the rest back."""
        self._give_back(self._pool.withdraw(), began=False)
        deadline = monotonic() + self._options.grace
        self._wake_at = 1
        told = False
        while self._held and not self._now_asked and (left := deadline - monotonic()) > 0:
            try:
                self.each_turn()
                self._flush()
            except BrokerUnavailable as error:
                logger.warning("%s; trying again", error)
                self.sleeper.sleep(min(1.0, left))
                continue
            if self._held:
                if not told:
                    logger.info(
                        "finishing %d job%s (%g s)…", len(self._held), "s"[: len(self._held) > 1], self._options.grace
                    )
                    told = True
                self.sleeper.sleep(min(left, 1.0), unless=self._has_enough)
        if not self._held:
            return DONE
        ended = {outcome.claim.job.id for outcome in self._finisher.inbox}
        self._give_back([claim for id_, claim in self._held.items() if id_ not in ended], began=True)
        logger.warning("The grace is over: %d jobs go back to their queues", len(self._held))
        while self._finisher.inbox:
            try:
                self._flush()
            except BrokerUnavailable as error:
                logger.error("%s; %d jobs could not be given back and stay RUNNING", error, len(self._held))
                break
        return GRACE_EXPIRED

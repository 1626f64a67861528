"""How many jobs are claimed, and when the queues are looked at. Loop thread only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from time import monotonic

from ..brokers import Broker
from ..sleeper import Bell
from ..store.weights import MOST_KEPT
from .fetcher import Fetcher
from .finisher import Finisher
from .held import Held
from .options import WorkerOptions
from .pool import Pool
from .reach import Reach
from .suspects import Suspects

# A claim that waits so long for a seat is given back: another worker may have one free.
STALLED = 1.0  # seconds
# What is claimed beyond the seats, by the mean run time: short jobs must not wait for a round trip each, and of
# long ones nobody should hold more than it runs.
SHORT, MIDDLING = 0.005, 0.1
# Jobs shorter than this travel in larger groups: with them a round trip to the store is all that takes time.
TINY, MANY = 0.001, 6
# And of the shortest, so many groups are claimed beyond the seats.
AHEAD = 2
SOON = 0.05  # seconds, while suspects wait for wards
LONGEST_PATIENCE = 1.0  # seconds between two looks at the queues of a process that has nothing to do
# A worker that ends when nothing is ready waits so long for jobs that are, and that others keep locked.
HELD_UP = 5.0  # seconds


def most_held(options: WorkerOptions) -> int:
    """How many jobs one process holds at most: what waits for a broker that is away takes no room from the others."""
    return (options.threads + options.coroutines + options.batch * MANY * AHEAD) * len(options.backends)


class Intake:
    def __init__(
        self,
        reach: Reach,
        fetcher: Fetcher,
        pool: Pool,
        held: Held,
        finisher: Finisher,
        options: WorkerOptions,
        suspects: Suspects | None = None,
    ) -> None:
        """``held``: what the loop holds; claims are added to it here. ``suspects``: None where all are run."""
        self._bells: list[tuple[Broker, Bell]] = []
        self._rang = False  # while the loop slept
        self._reach = reach
        self._fetcher = fetcher
        self._pool = pool
        self._held = held
        self._finisher = finisher
        self._options = options
        self._claimed = 0
        self._suspects = suspects
        self._is_full = False  # there was no room when it was last asked to fetch
        self.undone = ""  # why a worker that has ended by itself may have left something

    def hang_bells(self) -> None:
        """One for each source: brokers on the same database share the loop's connection to it."""
        hung = {bell.source: (broker, bell) for broker in self._reach.here() for bell in broker.bells()}
        self._bells = list(hung.values())

    @property
    def bells(self) -> list[Bell]:
        """Those of brokers that can be asked."""
        return [bell for broker, bell in self._bells if self._reach.has(broker.alias)]

    @property
    def fds(self) -> list[int]:
        """What can be read once a bell rings. None while there is no room: one that nobody answers goes on ringing."""
        return [] if self._is_full else [fd for bell in self.bells if (fd := bell.fd) is not None]

    def close(self) -> None:
        for _, bell in self._bells:
            bell.close()

    @property
    def group(self) -> int:
        """How many jobs are claimed, or settled, in one round trip."""
        return self._options.batch * (MANY if self._finisher.mean_run < TINY else 1)

    @property
    def is_worn(self) -> bool:
        """Has this process claimed as many jobs as it may?"""
        return self._taken == self._options.max_tasks_per_child

    @property
    def _taken(self) -> int:
        return self._claimed - self._finisher.unrun

    def fetch(self, idle: float) -> bool:
        """Claim what there is room for, and give it to the pool; ``idle``: seconds without work."""
        if self._suspects:
            self._suspects.ask_for_a_ward()
        wanted = self._wanted()
        self._is_full = wanted <= 0
        if self._is_full:
            return False
        if not self._fetcher.has_candidates:
            if not self._may_look(idle):
                return False
            self._fetcher.look()
        claims = self._fetcher.fetch(wanted)
        self._held.take(claims)
        innocent = self._suspects.put_off(claims) if self._suspects else claims
        self._claimed += len(innocent)
        if innocent:
            self._pool.submit(innocent)
        return bool(claims)

    def is_finished(self, idle: float) -> bool:
        """Is there nothing left that a worker which ends by itself could do? ``idle``: seconds without work."""
        self.undone = ""
        if self._held:
            return False
        if self._taken in (self._options.max_tasks, self._options.max_tasks_per_child):
            return True
        if self._suspects and self._suspects.are_away:
            return False
        if not self._options.burst or self._fetcher.has_candidates:
            return False
        self._fetcher.look()
        if self._fetcher.saw_all and self._fetcher.has_candidates:
            self.undone = "others keep jobs locked that are ready"
            return idle > HELD_UP
        is_blind = self._fetcher.is_blind or not self._reach.is_whole or not self._fetcher.saw_all
        self.undone = "a broker does not answer" if is_blind else ""
        return self._fetcher.saw_all or idle > self._options.connect_timeout

    def seconds_to_look(self, now: float, idle: float) -> float:
        """Until the queues or the held jobs must be looked at, though no bell rings."""
        soon = min(self._fetcher.promote_at - now, LONGEST_PATIENCE)
        if self._suspects and self._suspects.wait_for_wards:
            soon = min(soon, SOON)
        if self._is_full:  # the next outcome wakes the loop
            return soon
        return min([soon, *(self._fetcher.looked_at + bell.patience(idle) - now for bell in self.bells)])

    def glance(self, idle: float) -> float:
        """Seconds between two calls of ``rang``, while there is room; infinity where no bell has to be asked."""
        if self._is_full:
            return math.inf
        return min((glance for bell in self.bells if (glance := bell.glance(idle)) is not None), default=math.inf)

    def rang(self) -> bool:
        """Has a bell rung that has to be asked? The next ``fetch`` knows it."""
        self._rang |= self._ask(bell for bell in self._bells if bell[1].glance(0) is not None)
        return self._rang

    def _wanted(self) -> int:
        ahead, group = self._ahead(), self.group
        room = self._pool.seats + ahead - self._in_play
        if room > 0 and self._suspects and self._suspects.is_flooded:
            room = group  # they take no seats
        wanted = min(room, group, self._held.room)
        for limit in (self._options.max_tasks, self._options.max_tasks_per_child):
            if limit is not None:
                wanted = min(wanted, limit - self._taken)
        # While a backlog keeps the seats busy, half of it is waited for: a claim of ten costs what one of fifty does.
        return 0 if wanted < min(ahead, group) // 2 and self._pool.waiting() > 0 else wanted

    @property
    def _in_play(self) -> int:
        """How many of those that are held wait for a seat, have one, or can be settled."""
        return len(self._held) - self._finisher.aside

    def _ahead(self) -> int:
        if not self._pool.has_backlog:
            return 0
        mean, group = self._finisher.mean_run, self.group
        return min(self._room(), group * AHEAD if mean < SHORT else group // 2 if mean < MIDDLING else 0)

    def _room(self) -> int:
        """For how many jobs there is memory beyond the seats, by what those held bring and those of late have left."""
        held = self._held.weight
        each = held / max(1, len(self._held)) + self._finisher.mean_weight
        return 0 if held >= MOST_KEPT else int(MOST_KEPT / max(1.0, each))

    def _may_look(self, idle: float) -> bool:
        if self._options.burst:
            return True
        rang, self._rang = self._ask(self._bells) or self._rang, False
        since = monotonic() - self._fetcher.looked_at
        return rang or since >= min([LONGEST_PATIENCE, *(bell.patience(idle) for bell in self.bells)])

    def _ask(self, bells: Iterable[tuple[Broker, Bell]]) -> bool:
        rang = False
        for broker, bell in bells:  # every one, so that none keeps an old ring
            if self._reach.has(broker.alias):
                with self._reach.guard(broker):
                    rang = bell.rang() or rang
        return rang

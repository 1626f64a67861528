"""Claims jobs for the pool, queue by queue in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from ..brokers import Broker
from ..jobs import Claim, size_of
from ..store.weights import HEAVIEST
from .options import QueueChoice
from .reach import Reach

# While queues are busy, how often to look whether another one has got jobs.
LOOK_AGAIN = 0.25  # seconds
# A claim that weighs so much may be incomplete, because brokers also count headers, and bytes as they store them. So
# its queue is asked again.
FULL = HEAVIEST // 4
# So many queues at most are asked in one claim.
MOST_QUEUES = 100
# Held jobs are looked for at least so often; their due time shortens the wait.
PROMOTE_AGAIN = 0.5


class Fetcher:
    """Loop thread only."""

    def __init__(self, reach: Reach, choice: QueueChoice, worker_id: str, may_claim: Callable[[str], bool]) -> None:
        """``may_claim``: is there room for jobs of this alias, and are those that are held still ours?"""
        self._reach = reach
        self._may_claim = may_claim
        self._choice = choice
        self._worker_id = worker_id
        self._turn: deque[tuple[Broker, str]] = deque()  # queues that had ready jobs when last looked at
        self.looked_at = float("-inf")
        self.promote_at = float("-inf")  # when ``promote`` should be called next (monotonic)
        self.saw_all = False  # Could all that answer be looked at by the last look, and did one?
        self.is_blind = False  # Did one of these not see all of its own jobs?

    @property
    def has_candidates(self) -> bool:
        return bool(self._turn)

    def promote(self) -> None:
        """Make jobs ready whose time has come."""
        now = monotonic()
        if now < self.promote_at:
            return
        wait = PROMOTE_AGAIN
        for broker in self._reach.here():
            due_in = None
            with self._reach.guard(broker):
                due_in = broker.promote()
            if due_in is not None:
                wait = min(wait, max(0.0, due_in))
                if due_in <= 0:
                    self.looked_at = float("-inf")
        self.promote_at = now + wait

    def look(self) -> None:
        """Ask which queues have ready jobs; one that was paused meanwhile leaves the turn.

        Also where nothing may be claimed: a look tells an engine what it missed, and whose wake-ups to pass on.
        """
        found: dict[tuple[Broker, str], None] = {}
        here = [broker for broker in self._reach.here() if self._may_claim(broker.alias)]
        for broker in self._reach.here():
            with self._reach.guard(broker):
                names = broker.ready_queues()
                if broker in here:
                    found |= {(broker, name): None for name in filter(self._choice.serves, names)}
        self.saw_all = bool(here) and len(here) == len(self._reach.here())
        self.is_blind = not all(broker.sees_all for broker in here)
        kept = [each for each in self._turn if each in found]
        self._turn = deque(dict.fromkeys(kept) | found)  # in this order, and each once
        self.looked_at = monotonic()

    def fetch(self, limit: int) -> list[Claim]:
        """Claim up to ``limit`` jobs, or fewer that are heavy: from the queue whose turn it is, and on to the next
        while it gives fewer.
        """
        if self._turn and monotonic() - self.looked_at > LOOK_AGAIN:
            self.look()
        claims: list[Claim] = []
        weight = 0
        while self._turn and len(claims) < limit and weight < FULL:
            broker, names = self._next()
            if not (self._reach.has(broker.alias) and self._may_claim(broker.alias)):
                continue  # a later look finds them again
            wanted, got = limit - len(claims), []
            with self._reach.guard(broker):
                got = broker.claim(names, wanted, self._worker_id)
            claims += got
            theirs = sum([size_of(claim.job.payload) for claim in got])
            weight += theirs
            if len(got) == wanted or theirs >= FULL:  # the last that gave some may have more
                last = got[-1].job.queue_name
                place = names.index(last) if last in names else 0  # not that of a message by another hand
                self._turn.extendleft((broker, name) for name in reversed(names[place + 1 :]))
                self._turn.append((broker, names[place]))  # its turn comes again after the others
        return claims

    def _next(self) -> tuple[Broker, list[str]]:
        """The broker whose turn it is, and its next queues: one round trip is enough for them all."""
        broker, name = self._turn.popleft()
        names = [name]
        while self._turn and self._turn[0][0] is broker and len(names) < MOST_QUEUES:
            names.append(self._turn.popleft()[1])
        return broker, names

"""What an engine must do that carries jobs beside the store. It knows no table, no outcome and no retry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from ...conf import BackendOptions
from ...exceptions import BrokerUnavailable
from ...jobs import Claim, Job
from ...sleeper import Bell
from ..base import Depth, Found

# How the receipt of a message begins; the rest is the id of the process that holds it. Tokens of rows have no @.
HOLDER = "@"


class NotJoined(Exception):
    """A process claims that the engine does not know: it never joined, was counted as dead, or the engine forgot."""


class NewerMessage(BrokerUnavailable):
    """A message of a release after ours was met, and has gone back: who runs that release must have it."""


class Transport(ABC):
    """Carries the jobs of one TASKS alias that are due when they are enqueued.

    A message is in one place at a time: in its queue, or with the process that holds it. Every method is one step,
    done whole or not at all.

    ``publish``, ``queues``, ``find``, ``watch`` and what people ask (``depth``, ``peek``, ``purge``) may be called by
    any thread, at the same time; the rest by one thread of a process. After a fork nothing is used that was open: see
    ``close``.

    Every method raises BrokerUnavailable when the engine cannot be reached, does not answer in time, or is full. Its
    ``known`` tells whether nothing was done for certain. No command is sent twice by itself, because the second would
    find what the first has done. Raises BrokerError, with the remedy, where the engine is not to be used: its name
    belongs to another store, a right is missing.
    """

    patience = 2.0  # seconds for an answer, but of ``publish``; somebody's request or a loop waits for it

    @classmethod
    @abstractmethod
    def opened(cls, alias: str, options: BackendOptions, store_id: Callable[[], str]) -> Transport:
        """One for this alias in TASKS; nothing is asked yet. ``store_id``: by which the engine knows the store."""

    def check(self, jobs: Sequence[Job]) -> None:  # noqa: B027 - most carry all
        """Raises ArgumentError for a job that it cannot carry; asked before a job is sent, also before it is a row."""

    @abstractmethod
    def publish(self, jobs: Sequence[Job], within: float) -> datetime:
        """Put jobs into their queues, and wake a worker that waits; returns when, by the engine's clock.

        Waits ``within`` seconds for each answer. All or none of a part is taken; of several parts the earlier ones
        may be, and then the error says that the end is unknown. An id that the engine has is not put there again, so
        it may be asked twice. What the engine will never take is told by ``check`` before.
        """

    @abstractmethod
    def queues(self) -> list[str]:
        """The names of the queues in which a message waits."""

    @abstractmethod
    def claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        """Take up to ``limit`` messages of a queue: highest priority first, oldest first within one.

        Fewer where they are heavy, as ``Broker.claim``. The receipt is HOLDER and the worker's id. ``attempts`` of the
        job is 1: a message has never begun. ``enqueued_at`` and ``waited`` are by the engine's clock. One that expired
        has the verdict EXPIRED; one that cannot be read has the verdict FAILED and its ``reason``.

        Raises NotJoined when the worker has not joined; then nothing is taken. Raises NewerMessage for one of a newer
        version, when all have gone back.
        """

    @abstractmethod
    def ack(self, claims: Sequence[Claim]) -> set[str]:
        """These messages are done with: remove them. Returns the ids of those that their holder still held."""

    @abstractmethod
    def release(self, claims: Sequence[Claim]) -> set[str]:
        """Put messages back to the front of their queues; returns the ids of those that their holder still held."""

    @abstractmethod
    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        """Put back what this worker has claimed itself and that is not among ``held``; returns how many."""

    @abstractmethod
    def join(self, worker_id: str) -> None:
        """Let a process claim. Its row in the store is there already: who is without one counts as dead."""

    @abstractmethod
    def workers(self) -> set[str]:
        """The ids of the processes that have joined and were not inherited from."""

    @abstractmethod
    def inherit(self, dead: str, heir: str) -> list[tuple[Claim, float]]:
        """Give all that one process holds to another, and let it claim no more, in one step.

        Returns what the heir holds of this dead one, also of earlier calls: the claim, with the heir in its receipt,
        and the seconds since it was made. Several may try at once; the first heir has them. Joins the heir.
        """

    @abstractmethod
    def purge(self, queue_name: str) -> int:
        """Remove what waits in a queue; returns how many messages that were."""

    @abstractmethod
    def bell(self) -> Bell:
        """A new bell for the calling thread's loop, which rings when a message waits."""

    @abstractmethod
    def close(self) -> None:
        """Close what nobody uses at the moment: at the end of a thread, and before a fork. It is opened anew."""

    @abstractmethod
    def describe(self) -> str:
        """Which engine, where, and its version if it has said so; for people, without a password."""

    # --- what an engine may be unable to tell -----------------------------------------------------------------------

    finds_waiting = True  # Does ``find`` find all that wait? Where it does not, what nobody knows may be waiting.
    shows_waiting = True  # Can it tell what waits in a queue? Without it ``depth`` and ``peek`` are not called.

    def known(self, ids: Collection[str]) -> set[str] | None:
        """The ids of those that it has, as ``find``; also of what another user of the engine may have taken since.

        None: it cannot tell.
        """
        return set(self.find(ids)) if self.finds_waiting else None

    def find(self, ids: Collection[str]) -> dict[str, Found]:
        """The messages with these ids that wait (READY) or are held (RUNNING); others are left out."""
        return {}

    def watch(self, id_: str, tell: Callable[[], object]) -> bool:
        """Is the message there, and will ``tell`` be called when it is no more? Asked again within ten seconds."""
        return False

    def unwatch(self, id_: str, tell: Callable[[], object]) -> None:  # noqa: B027 - most tell nobody
        """Do not call it any more."""

    def depth(self) -> list[Depth]:
        """How many messages of each queue wait and are held, and how long the oldest has waited."""
        return []

    def held_by(self, worker_id: str, limit: int) -> list[str]:
        """The ids of up to ``limit`` messages that a process holds, in no order."""
        return []

    def peek(self, queue_name: str, limit: int) -> list[Job]:
        """Those that would be claimed next, in that order; nothing is changed."""
        return []

    # --- what an engine may ask for ---------------------------------------------------------------------------------

    has_others = False  # Do workers of another kind read its queues?

    def is_for_others(self, job: Job) -> bool:
        """Can only they run it? Not called where there are none."""
        return False

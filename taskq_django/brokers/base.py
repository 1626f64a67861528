"""What a broker must do. Batches in, batches out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime

from ..jobs import Claim, Job, Outcome
from ..sleeper import Bell


class Broker(ABC):
    """Where the jobs of one TASKS alias wait.

    Any thread may ``send`` and ``note_begun``. The rest belongs to the one loop thread of a worker process.
    Every method raises BrokerUnavailable when the store cannot be reached; nothing is then changed,
    except that the end of ``send`` may be unknown.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    @abstractmethod
    def database(self) -> str:
        """Alias in DATABASES of the tables that results are written to."""

    @abstractmethod
    def send(self, jobs: Sequence[Job]) -> datetime:
        """Hand over jobs, due or held, in one round trip; returns when, by the broker's clock."""

    @abstractmethod
    def ready_queues(self) -> list[str]:
        """Names of the queues in which a job is ready to be claimed; paused ones left out."""

    @abstractmethod
    def claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        """Take up to ``limit`` ready jobs of one queue, highest priority first, oldest first within one.

        Fewer where their texts are large: the one that makes it HEAVIEST bytes is the last.
        """

    @abstractmethod
    def note_begun(self, claim: Claim) -> bool:
        """Store that a job begins now which must never begin twice; called by the thread that runs it.

        False: the claim was lost to another worker, so the job must not begin here.
        """

    @abstractmethod
    def settle(self, outcomes: Sequence[Outcome], worker_id: str) -> list[Outcome]:
        """Write down what came of claims: results and attempts, retries, releases.

        Returns the outcomes that counted. One that is missing belongs to a claim which was lost to
        another worker: it changed nothing.
        """

    @abstractmethod
    def already_settled(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Those of the outcomes that had been written down, though the answer of ``settle`` never came."""

    @abstractmethod
    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        """Give back what is claimed for this worker and not among the ids it knows to hold; returns how many.

        For after an outage: a claim may have been committed though its answer never came.
        """

    @abstractmethod
    def held_by(self, worker_id: str) -> list[tuple[Claim, float]]:
        """Some of the jobs that a process holds, which has died, each with the age of its claim in seconds.

        To be settled by whoever asks; then what is left is found by the next call.
        """

    @abstractmethod
    def stranded(self) -> dict[str, list[tuple[Claim, float]]]:
        """The same for every process that is not registered (any more), by its id."""

    @abstractmethod
    def cancelled(self, worker_id: str) -> set[str]:
        """The ids of the jobs held by this process that somebody has asked to cancel."""

    @abstractmethod
    def promote(self) -> float | None:
        """Make held jobs ready whose time has come; returns seconds until the next is due, None for none."""

    @abstractmethod
    def bell(self) -> Bell:
        """The bell for the calling thread's loop."""

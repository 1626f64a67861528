"""What a broker must do. Batches in, batches out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from ..jobs import Claim, Job, Outcome, Progress
from ..sleeper import Bell
from ..states import State


class Found(NamedTuple):
    """A job that a broker knows."""

    job: Job
    state: State
    worker_id: str = ""  # of the process that holds it


# What dead processes held: by the id of each the claims, and the seconds since each was made.
Orphans = dict[str, list[tuple[Claim, float]]]


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs a queue has. ``oldest``: seconds that the oldest ready one has been ready; None: there is none."""

    queue_name: str
    ready: int = 0
    scheduled: int = 0
    running: int = 0
    oldest: float | None = None

    def __add__(self, other: Depth) -> Depth:
        """Of the same queue, in another place."""
        ages = [age for age in (self.oldest, other.oldest) if age is not None]
        counts = (self.ready + other.ready, self.scheduled + other.scheduled, self.running + other.running)
        return Depth(self.queue_name, *counts, max(ages, default=None))


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The ids of the jobs that somebody wanted to cancel, by what came of it."""

    ended: frozenset[str] = frozenset()  # they waited, and are CANCELLED
    asked: frozenset[str] = frozenset()  # they run or are about to, and their worker ends them within seconds
    ended_before: frozenset[str] = frozenset()  # they had ended already, and their result is kept
    unknown: frozenset[str] = frozenset()  # there is none of that id, or none any more

    def __or__(self, other: Cancelled) -> Cancelled:
        """Of other ids."""
        return Cancelled(*(mine | theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


class Outside(Protocol):
    """What waits outside the store, in an engine. Any thread; all but ``describe`` raise BrokerError."""

    @property
    def shows_waiting(self) -> bool:
        """Can it tell what waits in a queue?"""

    def describe(self) -> str: ...
    def find(self, ids: Collection[str]) -> dict[str, Found]: ...
    def depth(self) -> list[Depth]: ...
    def held(self, worker_ids: Collection[str], limit: int) -> list[Found]: ...
    def peek(self, queue_name: str, limit: int) -> list[Job]: ...


class Broker(ABC):
    """Where the jobs of one TASKS alias wait.

    Any thread may ``send``, ``note_begun``, ``close``, and what people ask: ``find``, ``watch``, ``cancel``,
    ``reschedule``, ``depth``, ``held``, ``peek``, ``purge`` and ``describe``. ``orphans`` and ``settle`` of a dead
    process belong to the supervisor, the rest to the one loop thread of a worker process.

    Every method raises BrokerUnavailable when the store cannot be reached, and BrokerError when its tables are missing
    or older than the code. Nothing is then changed, except that the answer may have been lost: see ``send``,
    ``settle``, ``release_unanswered``, ``cancel`` and ``purge``. In a caller's transaction, and of ``send`` everywhere,
    errors of the database come as they are.

    A claim has a receipt, made anew for each. Every later write names it, and changes nothing where the job is held
    by another receipt, or by none.
    """

    # Can a job that waits be found by its id? Where it cannot, one that nobody knows may be waiting.
    finds_waiting = True
    # Where jobs wait that are not in the store; None: all are.
    outside: Outside | None = None
    # Was its engine asked whether it is fit to hold jobs? By the service that starts, or later where it was away.
    is_checked = True

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    @abstractmethod
    def database(self) -> str:
        """Alias in DATABASES of the tables that results are written to."""

    @property
    def sees_all(self) -> bool:
        """Can the loop be told of every job that waits? Not while one of several places does not answer."""
        return True

    @abstractmethod
    def send(self, jobs: Sequence[Job], in_store: bool = False) -> datetime:
        """Hand over jobs, due or scheduled, all or none; returns when, by the broker's clock.

        ``in_store``: they must wait in the store, and nothing else may be asked: they belong to a transaction without
        network, or there must be a row to note their begin in.

        In a transaction of the store's database they become true with its commit. Workers that sleep are woken.
        Counters and times that a job comes with are kept. When the answer is lost, the ids are asked for, and what
        is not there is sent again. Raises BrokerError for what the store does not take: a text that is too large.
        """

    @abstractmethod
    def ready_queues(self) -> list[str]:
        """Names of the queues in which a job is ready to be claimed; paused ones left out. Locks nothing."""

    @abstractmethod
    def claim(self, queue_names: Sequence[str], limit: int, worker_id: str) -> list[Claim]:
        """Take up to ``limit`` ready jobs: those of the first queue, then, while they are fewer, of the next.

        Of a queue the highest priority first, the oldest first within one. Fewer where their texts are large: the one
        that makes it HEAVIEST bytes is the last. Jobs that another worker is claiming are passed over, and nobody
        waits. The start of each is counted.
        """

    @abstractmethod
    def note_begun(self, claim: Claim) -> bool:
        """Store that a job begins now which must never begin twice; called by the thread that runs it.

        False: the claim was lost to another worker, so the job must not begin here.
        """

    @abstractmethod
    def settle(self, outcomes: Sequence[Outcome], worker_id: str, unsure: Collection[str] = ()) -> list[Outcome]:
        """Write down what came of claims: results and failed attempts, retries, releases; of each place in one
        transaction.

        Returns the outcomes that counted. One that is missing belongs to a claim which was lost to another worker: it
        changed nothing. ``unsure``: ids of jobs that were settled before, and no answer came; those that stand as
        the outcome says count too.

        Of several results of one id the one of more attempts is kept; of two reports of one attempt the last.
        Raises OutcomeRefused when the store will never take one of them. Nothing from its place is then written, and
        whoever asks tries again with fewer, down to the one, and with all of them ``unsure``: other places may be done.
        """

    @abstractmethod
    def note_progress(self, said: Sequence[tuple[Claim, Progress]], *, waits: bool) -> bool:
        """Write down in the store how far these jobs are, each of them once here, over what they have said before.

        What a later attempt of a job has said stays. Without ``waits``, where another transaction is in the way, as a
        task's own on SQLite, the answer is False at once, and nothing was written.
        """

    @abstractmethod
    def take(self, id_: str, worker_id: str) -> Claim | None:
        """Claim this job, ready or scheduled, if it waits in the store and its queue is not paused."""

    @abstractmethod
    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        """Give back what is claimed for this worker and not among the ids it knows to hold; returns how many.

        For after an outage: a claim may have been committed though its answer never came. Their start is not counted.
        """

    @abstractmethod
    def orphans(self, heir: str, dead: str | None = None, in_store: bool = False) -> Orphans:
        """What a process that has died holds, or (None) every process that is not registered; by the process's id.

        ``in_store``: only what is there, and nothing else is asked. ``heir``: the id of the process that asks, and that
        will settle them; it is registered. Jobs that have one holder at a time are its own from now on, also those of
        a process whose jobs it was given before.

        Of each job the claim, in which arguments may be left out, and the seconds since it was made. Some of the jobs,
        where there are many: whoever asks settles them, and asks again. The receipt guards what is settled, so a claim
        that has moved on meanwhile is left alone.
        """

    @abstractmethod
    def cancelled(self, worker_id: str) -> set[str]:
        """The ids of the jobs held by this process that somebody has asked to cancel."""

    @abstractmethod
    def promote(self) -> float | None:
        """Make scheduled jobs ready whose time has come; returns seconds until the next is due, None for none.

        Not above 0 when there were such jobs: there may be more of them. Any number of workers may do it at once.
        """

    @abstractmethod
    def bells(self) -> list[Bell]:
        """New bells for the calling thread's loop: one for each place where jobs wait."""

    def wait_at_most(self, seconds: float) -> None:  # noqa: B027 - a store's waits are limited by session
        """For each answer of an engine: who asks has a lease to renew meanwhile."""

    @abstractmethod
    def close(self) -> None:
        """Close what the calling thread has open to it: before its process forks, and at the thread's end.

        The next call opens it anew.
        """

    @abstractmethod
    def find(self, ids: Collection[str]) -> dict[str, Found]:
        """The jobs with these ids that wait or run, as far as this broker can see them; others are left out.

        Of each the job as a claim tells it.
        """

    def watch(self, id_: str, tell: Callable[[], object]) -> bool:
        """Will ``tell`` be called, by any thread, when this job may have ended? Where not, whoever waits looks often.

        A hint, so asked again before each pause of a second. Never raises. ``unwatch`` ends it.
        """
        return False

    def unwatch(self, id_: str, tell: Callable[[], object]) -> None:  # noqa: B027 - most tell nobody
        """Do not call it any more."""

    @abstractmethod
    def cancel(self, ids: Collection[str], reason: str) -> Cancelled:
        """End those of this alias that wait in the store, at once, and ask for the end of those that run.

        In a transaction of the store's database it becomes true with its commit. What waits elsewhere is asked too:
        it ends when a worker claims it.
        """

    @abstractmethod
    def reschedule(self, ids: Collection[str], due: datetime | None) -> frozenset[str]:
        """Let those of this alias that wait in the store be due then (aware), or now; returns the ids of these.

        Now (None, or a moment that has passed) only changes those whose time has not come: a ready one keeps its
        place. When it expires moves with its time. One transaction, so of not too many; in a caller's of the store's
        database it becomes true with its commit. What waits elsewhere is due already, and stays.
        """

    @abstractmethod
    def depth(self, in_store: bool = False) -> list[Depth]:
        """Of every queue that has jobs, paused or not, by name. ``in_store``: only of those there."""

    @abstractmethod
    def held(self, worker_ids: Collection[str], limit: int) -> list[Found]:
        """Of what these processes hold up to ``limit`` jobs, in no order: those that run, and few that are about to.

        ``started_at`` of each is when it was claimed.
        """

    @abstractmethod
    def peek(self, queue_name: str, limit: int) -> list[Job]:
        """The ready jobs of a queue that would be claimed next, in that order; nothing is changed."""

    @abstractmethod
    def purge(self, queue_name: str) -> int:
        """Remove the jobs of a queue that have not begun, scheduled ones too, without a trace; returns how many."""

    @abstractmethod
    def describe(self) -> str:
        """Where the jobs wait: which engine, and which of them. For people, without a password. Never raises."""

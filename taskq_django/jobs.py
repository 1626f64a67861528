"""The values that travel: Job, Claim and the Outcomes. Frozen; threads may share them.

Job and Claim are named tuples and not frozen dataclasses because one of each is made for every job
on the worker's loop thread, and a frozen dataclass of this size costs four times as much to make.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from sys import getsizeof
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson

from .states import State


class Job(NamedTuple):
    """One request to run a task."""

    id: str  # UUID text, made by the client, so that it is known before anything is sent
    task_path: str
    payload: str  # the codec's text of [args, kwargs]
    backend: str  # alias in TASKS
    queue_name: str
    priority: int = 0  # -100 to 100, higher first
    headers: str = ""  # JSON object, or "" for none; carries the user's metadata too
    tries: int = 0  # failed runs that count against max_attempts
    # The rest is of a job that was sent before, or is to wait; a broker keeps it.
    attempts: int = 0  # starts, whatever came of them; of a claimed job with the one that it is claimed for
    crashes: int = 0  # processes lost while running it
    losses: int = 0  # times that it was lost and nobody knows whose fault it was
    enqueued_at: float = 0.0  # POSIX seconds, the broker's clock; 0: when it is sent
    # A claim does not tell:
    started_at: float = 0.0  # its first attempt, as above; 0: there was none
    run_after: datetime | None = None  # aware
    delay_us: int | None = None  # or: so many microseconds after the enqueue, by the broker's clock
    expires_us: int | None = None  # not started so many microseconds after it was due: it expires

    def __repr__(self) -> str:
        """Without arguments and headers: a traceback or a log that shows a job must not show its secrets."""
        return f"<Job {self.task_path}[{self.id}] in {self.queue_name!r}, attempts={self.attempts}>"

    @property
    def is_plain(self) -> bool:
        """Is it sent for the first time, and ready at once and for ever?"""
        return self[8:] == PLAIN  # from ``attempts`` to ``expires_us``

    @property
    def has_lived(self) -> bool:
        """Was it sent before?"""
        return self[8:13] != FRESH  # from ``attempts`` to ``started_at``


FRESH = (0, 0, 0, 0.0, 0.0)  # the counters and times, in their order, of what was never sent
PLAIN = (*FRESH, None, None, None)


class Claim(NamedTuple):
    """A Job that this worker process holds."""

    job: Job
    receipt: str  # the broker's own; the database broker's token
    waited: float  # seconds between being due and being claimed
    verdict: str = ""  # CANCELLED, EXPIRED or FAILED: what it ends as instead of being run
    has_begun: bool = False  # the store was told so: of jobs that must not begin twice; known to who rescues it only
    reason: str = ""  # why it ends as FAILED: it is no job that could be read

    @property
    def attempt(self) -> int:
        """The number of the start that it is for: 1 for the first; every start counts."""
        return self.job.attempts


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task has said that it is. ``done`` and ``total`` are of a unit that the task has chosen."""

    done: float
    total: float | None = None  # None: not known
    text: str = ""  # for people; of LONGEST_PROGRESS_TEXT characters at most
    updated_at: datetime | None = None  # when it was stored, as Django's ORM gives it

    @property
    def fraction(self) -> float | None:
        """From 0.0 to 1.0; None where the total is not known. All of nothing is done."""
        if self.total is None:
            return None
        return self.done / self.total if self.total else 1.0


LONGEST_PROGRESS_TEXT = 255


# How a run that did not succeed is counted. A loss: nobody saw how the host ended, or the process died after the run
# was over and before its outcome was stored.
Counter = Literal["tries", "crashes", "losses"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What is kept of an exception: text only, nothing that would have to be rebuilt."""

    exception_class: str  # dotted path
    message: str
    traceback: str

    def __str__(self) -> str:
        return f"{self.exception_class.removeprefix('builtins.')}: {self.message}"


@dataclass(frozen=True, slots=True)
class Succeeded:
    claim: Claim
    started: float  # monotonic seconds of this process, as `ended`
    ended: float
    value: str | None = field(repr=False)  # the codec's text; None: the task keeps no result


@dataclass(frozen=True, slots=True)
class Failed:
    claim: Claim
    started: float
    ended: float
    failure: Failure
    counts: Counter = "tries"


@dataclass(frozen=True, slots=True)
class Retried:
    claim: Claim
    started: float
    ended: float
    failure: Failure
    delay: float  # seconds until it may run again
    counts: Counter = "tries"


@dataclass(frozen=True, slots=True)
class Discarded:
    claim: Claim
    started: float
    ended: float
    state: State  # CANCELLED or EXPIRED
    reason: str
    began: bool = True  # False: its start does not count as an attempt


@dataclass(frozen=True, slots=True)
class Released:
    """Given back un-run, or cut off by a stop: costs no try."""

    claim: Claim
    began: bool  # as above
    delay: float = 0.0  # seconds until it is ready again; 0 keeps its place

    @property
    def is_kept(self) -> bool:
        """Does the store keep it, also where it was a message?"""
        return self.began or self.delay > 0


Ended = Succeeded | Failed | Discarded
Outcome = Succeeded | Failed | Retried | Discarded | Released


def size_of(text: str) -> int:
    """Bytes of memory, nearly: a character has one to four, as the widest of the text needs."""
    return len(text) if text.isascii() else getsizeof(text)


def weight_of(outcome: Outcome) -> int:
    """How many bytes of text it carries, or a little more; 0 for what has not run."""
    if isinstance(outcome, Succeeded):
        return size_of(outcome.value or "-")
    if isinstance(outcome, Failed | Retried):
        return size_of(outcome.failure.message) + size_of(outcome.failure.traceback) + 1
    return 0 if isinstance(outcome, Released) else 1


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7) whose next twelve bits are the fraction of the millisecond (§6.2, method 3).

    Ordered by time, so that rows are inserted at the index's end, and jobs of one batch stay in their order.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    value = (milliseconds << 80) | 0x7 << 76 | fraction << 64 | 0x2 << 62 | int.from_bytes(os.urandom(8), "big") >> 2
    return dashed(f"{value:032x}")


def made_at(id_: str) -> float:
    """When ``new_id`` made it, in POSIX seconds."""
    return int(id_[:8] + id_[9:13], 16) / 1000


def dashed(id_: object) -> str:
    """An id as a Job has it; of a database it comes as text with or without dashes, or as a UUID."""
    text = str(id_)
    return text if len(text) == 36 else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether this could be the id of a job."""
    try:
        value = UUID(text).int
    except ValueError:
        return False
    # MariaDB takes no UUID of a version from 8 on (bit 79) that is of an older variant (bit 63).
    return bool(value >> 63 & 1 or not value >> 79 & 1)


SENSITIVE = "sensitive"  # the key of the headers that tells which arguments the task called so


def headers_of(text: str) -> dict[str, Any] | None:
    """The headers of a stored job. None for what is no JSON object: it may be by another hand."""
    try:
        found = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return None
    return found if type(found) is dict else None


def log_fields(claim: Claim, **more: Any) -> dict[str, Any]:
    """The keys every log line about a job carries in ``extra``."""
    job = claim.job
    return {"task": job.task_path, "job_id": job.id, "queue": job.queue_name, "attempt": claim.attempt, **more}

"""A transport within one process: for tests, and to read what an engine must do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ...conf import BackendOptions
from ...jobs import Claim, Job
from ...sleeper import Bell
from ...states import State
from ...store.weights import HEAVIEST
from ..base import Depth, Found
from . import bodies
from .transport import HOLDER, NewerMessage, NotJoined, Transport


@dataclass(slots=True)
class Message:
    body: bytes
    rank: int
    queue_name: str
    published_at: float  # POSIX seconds
    number: float  # its place among those of its rank
    holder: str = ""  # the process that holds it
    claimed_by: str = ""  # and the one that claimed it; where it was inherited: the one that held it before
    claimed_at: float = 0.0


class MemoryTransport(Transport):
    def __init__(self, alias: str = "default") -> None:
        self._alias = alias
        self._lock = threading.RLock()
        self._messages: dict[str, Message] = {}
        self._workers: set[str] = set()
        self._numbers = 0
        self._bells: list[MemoryBell] = []

    @classmethod
    def opened(cls, alias: str, options: BackendOptions, store_id: Callable[[], str]) -> MemoryTransport:  # noqa: ARG003
        return cls(alias)

    def publish(self, jobs: Sequence[Job], within: float) -> datetime:
        now = round(time.time(), 6)  # as every clock of an engine tells it
        with self._lock:
            for job in jobs:
                self.put(job.id, bodies.pack(job), job.queue_name, job.priority, now)
        for bell in self._bells:
            bell.ring()
        return datetime.fromtimestamp(now, UTC)

    def put(self, id_: str, body: bytes, queue_name: str, priority: int = 0, now: float = 0.0) -> None:
        """As another hand might."""
        self._numbers += 1
        self._messages.setdefault(id_, Message(body, -priority, queue_name, now or time.time(), self._numbers))

    def queues(self) -> list[str]:
        with self._lock:
            return list({message.queue_name for message in self._messages.values() if not message.holder})

    def claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        claims: list[Claim] = []
        weight = 0
        with self._lock:
            if worker_id not in self._workers:
                raise NotJoined(worker_id)
            for id_, message in self._waiting(queue_name)[:limit]:
                message.holder = message.claimed_by = worker_id
                message.claimed_at = time.time()
                try:
                    claims.append(self._claim_of(id_, message))
                except bodies.NewerVersion as error:
                    for taken in (message, *(self._messages[claim.job.id] for claim in claims)):
                        taken.holder = taken.claimed_by = ""
                    raise NewerMessage(str(error), known=True) from error
                weight += len(message.body)
                if weight >= HEAVIEST:
                    break
        return claims

    def _waiting(self, queue_name: str) -> list[tuple[str, Message]]:
        found = [each for each in self._messages.items() if each[1].queue_name == queue_name and not each[1].holder]
        return sorted(found, key=lambda each: (each[1].rank, each[1].number))

    def _claim_of(self, id_: str, message: Message) -> Claim:
        receipt, waited = HOLDER + message.holder, message.claimed_at - message.published_at
        try:
            job = bodies.unpack(id_, message.body, self._alias)
        except bodies.Unreadable as error:
            job = Job(id_, "", "[[],{}]", self._alias, message.queue_name, attempts=1)
            return Claim(job, receipt, waited, State.FAILED, reason=str(error))
        job = job._replace(enqueued_at=message.published_at)
        expired = job.expires_us is not None and waited * 1e6 >= job.expires_us
        return Claim(job, receipt, waited, State.EXPIRED if expired else "")

    def ack(self, claims: Sequence[Claim]) -> set[str]:
        with self._lock:
            held = self._held(claims)
            for id_ in held:
                del self._messages[id_]
        return set(held)

    def release(self, claims: Sequence[Claim]) -> set[str]:
        with self._lock:
            held = self._held(claims)
            for id_ in reversed(held):
                self._put_back(self._messages[id_])
        return set(held)

    def _held(self, claims: Sequence[Claim]) -> list[str]:
        found = ((claim, self._messages.get(claim.job.id)) for claim in claims)
        return [claim.job.id for claim, message in found if message and HOLDER + message.holder == claim.receipt]

    def _put_back(self, message: Message) -> None:
        message.holder = message.claimed_by = ""
        message.number = min(each.number for each in self._messages.values()) - 1

    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        with self._lock:
            lost = [
                message
                for id_, message in self._messages.items()
                if message.holder == message.claimed_by == worker_id and id_ not in held
            ]
            for message in lost:
                self._put_back(message)
        return len(lost)

    def join(self, worker_id: str) -> None:
        self._workers.add(worker_id)

    def workers(self) -> set[str]:
        return set(self._workers)

    def inherit(self, dead: str, heir: str) -> list[tuple[Claim, float]]:
        with self._lock:
            self._workers.discard(dead)
            self._workers.add(heir)
            for message in self._messages.values():
                if message.holder == dead != heir:
                    message.holder, message.claimed_by = heir, dead  # nobody asks for those before it any more
            return [
                (self._claim_of(id_, message), time.time() - message.claimed_at)
                for id_, message in self._messages.items()
                if message.holder == heir and message.claimed_by == dead
            ]

    def bell(self) -> Bell:
        bell = MemoryBell()
        self._bells.append(bell)
        return bell

    def close(self) -> None:
        return  # nothing is open

    def describe(self) -> str:
        return "memory of this process"

    def find(self, ids: Collection[str]) -> dict[str, Found]:
        with self._lock:
            return {
                id_: Found(
                    self._claim_of(id_, message).job._replace(
                        attempts=int(bool(message.holder)), started_at=message.claimed_at
                    ),
                    state,
                    message.holder,
                )
                for id_ in ids
                if (message := self._messages.get(id_))
                for state in [State.RUNNING if message.holder else State.READY]
            }

    def depth(self) -> list[Depth]:
        now = time.time()
        with self._lock:
            messages = list(self._messages.values())
        found = []
        for name in dict.fromkeys(message.queue_name for message in messages):
            theirs = [message for message in messages if message.queue_name == name]
            ages = [now - message.published_at for message in theirs if not message.holder]
            found.append(Depth(name, ready=len(ages), running=len(theirs) - len(ages), oldest=max(ages, default=None)))
        return found

    def held_by(self, worker_id: str, limit: int) -> list[str]:
        with self._lock:
            return [id_ for id_, message in self._messages.items() if message.holder == worker_id][:limit]

    def peek(self, queue_name: str, limit: int) -> list[Job]:
        with self._lock:
            return [self._claim_of(*each).job for each in self._waiting(queue_name)[:limit]]

    def purge(self, queue_name: str) -> int:
        with self._lock:
            ids = [id_ for id_, _ in self._waiting(queue_name)]
            for id_ in ids:
                del self._messages[id_]
        return len(ids)


class MemoryBell(Bell):
    def __init__(self) -> None:
        self._rang = True

    def ring(self) -> None:
        self._rang = True

    def rang(self) -> bool:
        rang, self._rang = self._rang, False
        return rang

    def glance(self, idle: float) -> float:
        return 0.005

    def patience(self, idle: float) -> float:
        return 1.0

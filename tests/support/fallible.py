"""A process of a message broker that fails or dies where a test wants it to: at its n-th call of engine or store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from django.db import OperationalError

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.messages.broker import MessageBroker
from taskq_django.brokers.messages.memory import MemoryTransport
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.jobs import Claim, Job, Outcome, Released
from taskq_django.store.connections import in_transaction
from taskq_django.worker.rescue import Death

T = TypeVar("T")

Where = Literal["engine", "store"]
How = Literal["away", "no answer", "killed", "killed after it"]


class Killed(BaseException):
    """The process is gone, in the middle of what it did."""


class Fuse:
    """One fault, which is still to come."""

    def __init__(self) -> None:
        self.where, self.how, self.calls = "", "", 0

    def set(self, where: Where, how: How, calls: int) -> None:
        """``calls``: before, or after, so many calls."""
        self.where, self.how, self.calls = where, how, calls

    def clear(self) -> None:
        self.where = ""

    def round(self, where: Where, act: Callable[[], T]) -> T:
        if self.where != where:
            return act()
        self.calls -= 1
        if self.calls > 0:
            return act()
        self.where = ""
        if self.how in ("no answer", "killed after it"):
            act()
        if "killed" in self.how:
            raise Killed
        raise BrokerUnavailable("It is away.", known=self.how == "away") from OperationalError("it is away")


STEPS = ("publish", "queues", "claim", "ack", "release", "release_unanswered", "join", "workers", "inherit", "find")


class Line:
    """One process's connection to an engine that all share."""

    finds_waiting = True

    def __init__(self, engine: MemoryTransport, fuse: Fuse) -> None:
        self._engine = engine
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)
        if name not in STEPS:
            return method
        return lambda *args, **more: self._fuse.round("engine", lambda: method(*args, **more))


class FallibleRows(DatabaseBroker):
    """``note`` hears of what was written, also where its writer does not."""

    def __init__(self, fuse: Fuse, note: Callable[[Sequence[Outcome]], object]) -> None:
        super().__init__("default")
        self._fuse = fuse
        self._note = note
        self._is_within = False

    def _one(self, act: Callable[[], T]) -> T:
        """One transaction; in a caller's nothing fails."""
        if self._is_within or in_transaction(self.connection):
            return act()
        self._is_within = True
        try:
            return self._fuse.round("store", act)
        finally:
            self._is_within = False

    def own(self, act: Callable[[Any], T], **more: Any) -> T:
        return self._one(lambda: super(FallibleRows, self).own(act, **more))

    def send(self, jobs: Sequence[Job], in_store: bool = False, *, sender: str = "") -> datetime:
        return self._one(lambda: super(FallibleRows, self).send(jobs, in_store, sender=sender))

    def _settle(self, outcomes: Sequence[Outcome], worker_id: str, **more: Any) -> list[Outcome]:
        def act() -> list[Outcome]:
            counted = super(FallibleRows, self)._settle(outcomes, worker_id, **more)
            self._note(counted)
            return counted

        return self._one(act)

    def record(self, outcomes: Sequence[Outcome], holder: str, author: str, **more: Any) -> bool:
        def act() -> bool:
            is_there = super(FallibleRows, self).record(outcomes, holder, author, **more)
            self._note(outcomes if is_there else [])
            return is_there

        return self._one(act)


class Process:
    """What a worker process knows, and the supervisor of it: as Loop, Finisher and Blackboard have it."""

    def __init__(
        self,
        id_: str,
        engine: MemoryTransport,
        note: Callable[[Sequence[Outcome]], object],
        *,
        has_outbox: bool = True,
    ) -> None:
        self.id = id_
        self.fuse = Fuse()
        line: Any = Line(engine, self.fuse)
        self.broker = MessageBroker("default", FallibleRows(self.fuse, note), line, has_outbox=has_outbox)
        self.held: dict[str, Claim] = {}
        self.begun: set[str] = set()
        self.over: dict[str, Outcome] = {}
        self.unsure: set[str] = set()
        self.is_away = self.is_late = self.is_dead = False

    def attempt(self, act: Callable[[], T]) -> T | None:
        """As Reach.guard, and the trial that follows. A kill ends it."""
        try:
            if self.is_away:
                self.broker.release_unanswered(self.id, self.held)
                self.is_away = False
            return act()
        except BrokerUnavailable:
            self.is_away = True
        except Killed:
            self.is_dead = True
        return None

    def claim(self, limit: int) -> list[Claim]:
        if self.unsure:  # settled first, as by the loop: its job may wait as a row already
            self.settle([self.over.get(id_, Released(self.held[id_], began=False)) for id_ in self.unsure])
        if self.unsure or self.is_dead:
            return []
        claims = self.attempt(lambda: self.broker.claim(["default"], limit, self.id)) or []
        self.held |= {claim.job.id: claim for claim in claims}
        return claims

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        counted = self.attempt(lambda: self.broker.settle(outcomes, self.id, self.unsure))
        ids = {outcome.claim.job.id for outcome in outcomes}
        if counted is None:
            self.unsure |= ids
            return
        self.unsure -= ids
        for id_ in ids:  # those that did not count are lost
            self.held.pop(id_, None)
            self.begun.discard(id_)
            self.over.pop(id_, None)

    def give_back(self) -> None:
        self.settle([Released(claim, began=False) for id_, claim in self.held.items() if id_ not in self.begun])

    def death(self) -> Death:
        return Death(cause="signal SIGKILL", begun=self.begun - self.over.keys(), over=set(self.over))

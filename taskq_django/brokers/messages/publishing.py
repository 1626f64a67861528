"""When jobs leave for the engine: now, or when the last open transaction of the thread has committed.

With an outbox a job of a transaction is also a row, which stands in for the message until the engine has confirmed it.
"""

from __future__ import annotations

import logging
import operator
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ...exceptions import BrokerUnavailable, clause, counted, one_line
from ...jobs import Job, made_at, size_of
from ...states import State
from ...store.weights import cut
from ..base import Found
from ..database.broker import DatabaseBroker
from ..database.outbox import Outbox
from .breaker import Breaker
from .transport import Transport

logger = logging.getLogger("taskq_django.broker")

# For an answer; a connection may take one more. Somebody's request waits so long at most.
WITHIN = 2.0  # seconds
AT_ONCE = 1000


@dataclass(slots=True)
class Leaving:
    """Jobs that were enqueued in the same transactions, at the same savepoints. One thread owns it."""

    publisher: Publisher
    open: set[str]  # aliases of the databases whose transaction is not committed yet
    jobs: list[Job] = field(default_factory=list)
    sender: str = ""  # names the rows that stand in for them; "": there are none


class Place(NamedTuple):
    """Where in which transactions a thread stands. Django makes a new list at each commit and each rollback."""

    savepoints: list[tuple[Any, ...]]
    callbacks: list[list[Any]]

    def is_same(self, other: Place) -> bool:
        return self.savepoints == other.savepoints and all(map(operator.is_, self.callbacks, other.callbacks))


class Publisher:
    """Any thread."""

    def __init__(self, transport: Transport, breaker: Breaker, rows: DatabaseBroker, outbox: Outbox | None) -> None:
        self._transport = transport
        self._breaker = breaker
        self._rows = rows
        self._outbox = outbox
        self._thread = _Last()

    def send(self, jobs: Sequence[Job]) -> datetime:
        """Publish them now, or when all transactions that the thread is in have committed; returns when.

        Raises BrokerUnavailable. With an outbox what cannot be published waits in the store, and nothing is raised.
        """
        within = [connection for connection in connections.all(initialized_only=True) if connection.in_atomic_block]
        if not within:
            return self._publish_now(jobs)
        self._publish_later(jobs, within)
        return datetime.now(UTC)

    def _publish_now(self, jobs: Sequence[Job]) -> datetime:
        if self._outbox is None:
            return self._publish(jobs)
        # Each part by itself: of one that the engine has confirmed no row may stand in.
        moments = [self._publish_or_keep(self._outbox, part) for part in _parts(jobs)]
        return moments[0]

    def _publish_or_keep(self, outbox: Outbox, jobs: Sequence[Job]) -> datetime:
        try:
            return self._publish(jobs)
        except BrokerUnavailable as error:
            logger.warning("%s; the store keeps %s instead", clause(error), counted(len(jobs), "job"))
            return self._rows.send(jobs) if error.known else outbox.stand_in_late(jobs, str(uuid4()))

    def _publish(self, jobs: Sequence[Job]) -> datetime:
        """In parts, because each has its own time for an answer: a bulk may take longer than one request should."""
        moment = None
        for part in _parts(jobs):
            try:
                sent_at = self._breaker.call(lambda part=part: self._transport.publish(part, WITHIN))  # type: ignore[misc]
            except BrokerUnavailable as error:
                if moment is not None:
                    error.known = False
                raise
            moment = moment or sent_at
        assert moment is not None  # noqa: S101 - nobody sends nothing
        return moment

    # --- in transactions ----------------------------------------------------------------------------------------

    def _publish_later(self, jobs: Sequence[Job], within: Sequence[BaseDatabaseWrapper]) -> None:
        outbox = self._outbox if any(connection.alias == self._rows.database for connection in within) else None
        place = Place([(c.alias, *c.savepoint_ids) for c in within], [c.run_on_commit for c in within])
        last = self._thread
        if last.leaving is None or last.place is None or not last.place.is_same(place):
            last.leaving = Leaving(self, {c.alias for c in within}, sender=str(uuid4()) if outbox else "")
            for connection in within:
                _call_at_commit(connection, last.leaving)
            last.place = place
        if outbox:
            outbox.stand_in(jobs, last.leaving.sender)
        last.leaving.jobs += jobs

    def unpublished(self, ids: Collection[str]) -> dict[str, Found]:
        """Those of the jobs that this thread has sent in transactions that are open still."""
        calls: Iterator[Any] = (
            call for each in connections.all(initialized_only=True) for _, call, *_ in each.run_on_commit
        )
        leavings = {id(call.args[0]): call.args[0] for call in calls if getattr(call, "func", None) is _committed}
        jobs = (job for leaving in leavings.values() if leaving.publisher is self for job in leaving.jobs)
        wanted = set(ids)
        return {
            job.id: Found(job._replace(enqueued_at=made_at(job.id)), State.READY) for job in jobs if job.id in wanted
        }

    def publish_committed(self, committed: Sequence[Leaving]) -> None:
        """What has left its transactions. Raises BrokerUnavailable."""
        for leaving in committed:
            if leaving.sender and self._outbox:
                self._publish_rows(self._outbox, leaving)
        jobs = [job for leaving in committed if not leaving.sender for job in leaving.jobs]
        if not jobs:
            return
        try:
            self._publish(jobs)
        except BrokerUnavailable as error:
            count = counted(len(jobs), "job")
            what = f"{count} of it not sent" if error.known else f"whether {count} of it left is not known"
            raise BrokerUnavailable(
                f'The transaction is committed, and {what}: {clause(error)}. OPTIONS["outbox"] = True keeps jobs in '
                "the store until the broker has them.",
                known=error.known,
            ) from error

    def _publish_rows(self, outbox: Outbox, leaving: Leaving) -> None:
        """Nothing is lost, whatever happens: who comes too late finds that the rows have gone on."""
        for part in _parts(leaving.jobs):
            ids = [job.id for job in part]
            try:
                ours = outbox.renew(ids, leaving.sender)
                if mine := [job for job in part if job.id in ours]:
                    self._settle_sent(outbox, mine, leaving.sender)
            except Exception as error:  # of the store: the rows are due in ten seconds
                logger.warning("%s of the outbox left to the workers: %s", counted(len(part), "job"), one_line(error))

    def _settle_sent(self, outbox: Outbox, jobs: Sequence[Job], sender: str) -> None:
        ids = [job.id for job in jobs]
        try:
            self._publish(jobs)
        except BrokerUnavailable as error:
            logger.warning("%s; workers run %s of the outbox from the store", clause(error), counted(len(ids), "job"))
            if error.known:
                outbox.surely_not_sent(ids, sender)
            return
        outbox.confirmed(ids, sender)


class _Last(threading.local):
    """Where a thread has enqueued last in a transaction, and what leaves with it."""

    place: Place | None = None
    leaving: Leaving | None = None


class _Ready(threading.local):
    """What all transactions of a thread have committed, and nobody has published yet."""

    def __init__(self) -> None:
        self.leaving: list[Leaving] = []


_ready = _Ready()


def _call_at_commit(connection: BaseDatabaseWrapper, leaving: Leaving) -> None:
    """Before the callbacks of the project, because one of these that raises ends the list.

    The list begins with one entry for each place whose jobs may leave, which goes if its savepoint is rolled back;
    then comes the one that publishes what is left, at once.
    """
    calls: list[tuple[set[str], Callable[[], object], bool]] = connection.run_on_commit  # type: ignore[assignment]
    at = next((position for position, (_, call, *_) in enumerate(calls) if call is _publish_ready), 0)
    if not calls or calls[at][1] is not _publish_ready:
        calls.insert(at, (set(), _publish_ready, False))
    calls.insert(at, (set(connection.savepoint_ids), partial(_committed, leaving, connection.alias), False))


def _committed(leaving: Leaving, alias: str) -> None:
    leaving.open.discard(alias)
    if not leaving.open:
        _ready.leaving.append(leaving)


def _publish_ready() -> None:
    """For each broker by itself: one that is away keeps no jobs of another."""
    ready, _ready.leaving = _ready.leaving, []
    first: BrokerUnavailable | None = None
    for publisher in dict.fromkeys(leaving.publisher for leaving in ready):
        try:
            publisher.publish_committed([leaving for leaving in ready if leaving.publisher is publisher])
        except BrokerUnavailable as error:
            first = first or error
    if first is not None:
        raise first


def _parts(jobs: Sequence[Job]) -> list[Sequence[Job]]:
    """By count, and by bytes."""
    if len(jobs) == 1:  # as most publishes are
        return [jobs]
    parts: list[Sequence[Job]] = []
    for start in range(0, len(jobs), AT_ONCE):
        batch = jobs[start : start + AT_ONCE]
        parts += cut(batch, [size_of(job.payload) + size_of(job.headers) for job in batch])
    return parts

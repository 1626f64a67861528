"""Jobs in the project's own database: enqueued in the caller's transaction, ended in one with their result."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import uuid4

from django.db import DataError, IntegrityError, ProgrammingError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import F
from django.utils import timezone

from ...exceptions import BrokerError, BrokerUnavailable, one_line
from ...jobs import Claim, Discarded, Ended, Failed, Job, Outcome, Progress, Released, Retried, Succeeded, size_of
from ...models import QueuedJob
from ...models.moments import DatabaseNow
from ...sleeper import Bell
from ...store.connections import OUTAGE, code_of, in_transaction, let_go, replace_lost
from ...store.dialects.base import Dialect
from ...store.dialects.bells import RING_PAUSE
from ...store.dialects.vendors import dialect_of, messages_of
from ...store.ends import is_the_end_of
from ...store.stories import read_standings
from ...store.weights import LIGHT, cut, light_groups
from ..base import Broker, Cancelled, Depth, Found, Orphans
from . import asking, progress, rows
from .faults import TOO_LARGE_PERHAPS, explain_missing_table, is_the_datas_fault, lost_a_race, refusals

T = TypeVar("T")

DUE_IN = 10.0  # seconds until a row is run that stands in for a message, if its sender has died

# Our own short transactions that lost against another's are tried again; sixteen with jitter are some seconds.
TRIES = 16


class DatabaseBroker(Broker):
    def __init__(self, alias: str, database: str = "") -> None:
        """``database``: the alias in DATABASES; "" asks the project's routers."""
        super().__init__(alias)
        self._database = database
        self._rang_at = float("-inf")  # any thread; a lost race rings once more

    @property
    def database(self) -> str:
        return self._database or router.db_for_write(QueuedJob)

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The calling thread's."""
        connection: BaseDatabaseWrapper = connections[self.database]
        return connection

    @property
    def dialect(self) -> Dialect:
        return dialect_of(self.connection)

    def send(self, jobs: Sequence[Job], in_store: bool = False, *, sender: str = "") -> datetime:
        """``sender``: names the publish that the rows stand in for; see Outbox."""
        connection = self.connection
        is_callers = in_transaction(connection)
        try:
            return self._insert(jobs, sender)
        except OUTAGE as error:
            explain_missing_table(error, self.database)
            if isinstance(error, DataError) or is_the_datas_fault(error) or code_of(error) in TOO_LARGE_PERHAPS:
                raise BrokerError(
                    f"DATABASES[{self.database!r}] refuses {'this job' if len(jobs) == 1 else 'one of these jobs'}: "
                    f"{one_line(error)}. Store what is large, and pass a key."
                ) from error
            if is_callers or (connection.connection is not None and connection.is_usable()):
                raise
            let_go(connection)
        # Cut off, and perhaps after the commit. The ids are ours, so the database can be asked.
        stored = read_standings([job.id for job in jobs], self.database)
        left = [job for job in jobs if job.id not in stored]
        if left:
            return self._insert(left, sender)
        moment = stored[jobs[0].id].enqueued_at
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)

    def _insert(self, jobs: Sequence[Job], sender: str) -> datetime:
        connection, dialect = self.connection, self.dialect
        weights = [size_of(job.payload) + size_of(job.headers) for job in jobs]
        groups = list(cut(jobs, weights))
        # Of what is heavy a dialect may write a row in two statements.
        light = (len(jobs) == 1 or in_transaction(connection)) and max(weights) <= LIGHT
        alone = len(groups) == 1 and (light or "insert" in dialect.one_statement)
        with nullcontext() if alone else transaction.atomic(using=self.database), connection.cursor() as cursor:
            if sender:
                moments = [dialect.stand_in(cursor, group, sender, DUE_IN) for group in groups]
            else:
                moments = [dialect.insert(cursor, group, ring=self._may_ring(connection)) for group in groups]
            return moments[0]

    def ready_queues(self) -> list[str]:
        return self.own(lambda cursor: self.dialect.ready_queues(cursor, self.alias))

    def claim(self, queue_names: Sequence[str], limit: int, worker_id: str) -> list[Claim]:
        token = uuid4().hex
        dialect = self.dialect
        return self.own(
            lambda cursor: dialect.claim(cursor, self.alias, queue_names, limit, worker_id, token),
            writes="claim" not in dialect.one_statement,
        )

    def note_begun(self, claim: Claim) -> bool:
        held = QueuedJob.objects.using(self.database).filter(id=claim.job.id, token=claim.receipt)
        return self.own(lambda _: held.update(begun_at=DatabaseNow()), writes=True) == 1

    def settle(
        self, outcomes: Sequence[Outcome], worker_id: str, unsure: Collection[str] = (), *, forget: Collection[str] = ()
    ) -> list[Outcome]:
        """``forget``: ids of jobs that end, whose wishes to be cancelled go too."""
        with refusals(outcomes, self.database):
            try:
                counted = self._settle(outcomes, worker_id, forget=forget)
            except IntegrityError:  # perhaps one of them has a result already, by another hand
                counted = self._settle(outcomes, worker_id, over=True, forget=forget)
        if unsure and len(counted) < len(outcomes):
            done = {outcome.claim.job.id for outcome in counted}
            missing = [o for o in outcomes if o.claim.job.id in unsure and o.claim.job.id not in done]
            found = self.own(lambda _: read_standings([o.claim.job.id for o in missing], self.database))
            counted += [o for o in missing if is_the_end_of(found.get(o.claim.job.id), o)]
        return counted

    def _settle(
        self, outcomes: Sequence[Outcome], worker_id: str, *, over: bool = False, forget: Collection[str] = ()
    ) -> list[Outcome]:
        ended: list[Ended] = [o for o in outcomes if isinstance(o, Succeeded | Failed | Discarded)]
        back: list[Retried | Released] = [o for o in outcomes if isinstance(o, Retried | Released)]

        def write(cursor: CursorWrapper) -> list[Outcome]:
            counted = self.dialect.end(cursor, ended, over) if ended else set()
            if back:
                counted |= self.dialect.put_back(cursor, back)
            mine = [o for o in outcomes if o.claim.job.id in counted]
            broken = rows.surely_begun([o for o in mine if isinstance(o, Failed | Retried)], self.database)
            if broken:
                self.dialect.record_failures(cursor, broken, worker_id)
            if forget:
                messages_of(self.connection).forget_wishes(cursor, counted.intersection(forget))
            return mine

        succeeded = not back and not forget and all(isinstance(o, Succeeded) for o in ended)
        alone = succeeded and "end" in self.dialect.one_statement and not self.connection.in_atomic_block
        return self.own(write, writes=not alone)

    def record(
        self,
        outcomes: Sequence[Outcome],
        holder: str,
        author: str,
        *,
        sweep: bool = False,
        forget: Collection[str] = (),
    ) -> bool:
        """Write down what came of messages. False: their holder is not registered any more, and nothing was written.

        As ``Messages.record``, and raises as ``settle``. ``forget``: ids of jobs whose wishes to be cancelled go too.
        """
        messages = messages_of(self.connection)

        def write(cursor: CursorWrapper) -> bool:
            is_there = messages.record(cursor, outcomes, holder, author, sweep)
            if is_there and forget:
                messages.forget_wishes(cursor, forget)
            return is_there

        succeeded = not forget and all(isinstance(o, Succeeded) for o in outcomes)
        alone = succeeded and "record" in messages.one_statement and not self.connection.in_atomic_block
        with refusals(outcomes, self.database):
            return self.own(write, writes=not alone)

    def note_progress(self, said: Sequence[tuple[Claim, Progress]], *, waits: bool) -> bool:
        return progress.note(said, self.own, self.connection, waits=waits)

    def take(self, id_: str, worker_id: str) -> Claim | None:
        return self.own(lambda _: rows.take(id_, self.database, self.alias, worker_id), writes=True)

    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        jobs = rows.running(self.database, self.alias).filter(worker_id=worker_id)
        back = {"status": "READY", "attempts": F("attempts") - 1}
        back |= dict.fromkeys(["token", "worker_id", "claimed_at", "begun_at"])
        return self.own(lambda cursor: jobs.exclude(id__in=list(held)).update(**back), writes=True)

    def orphans(self, heir: str, dead: str | None = None, in_store: bool = False) -> Orphans:
        jobs = rows.running(self.database, self.alias)
        jobs = rows.stranded(jobs) if dead is None else jobs.filter(worker_id=dead)
        return self.own(lambda _: rows.claims_by_worker(jobs))

    def cancelled(self, worker_id: str) -> set[str]:
        jobs = rows.running(self.database, self.alias).filter(worker_id=worker_id, cancel_requested_at__isnull=False)
        return self.own(lambda _: {str(id_) for id_ in jobs.values_list("id", flat=True)})

    def promote(self) -> float | None:
        dialect = self.dialect
        due_in = self.own(lambda cursor: dialect.next_due(cursor, self.alias))
        if due_in is not None and due_in <= 0:
            self.own(lambda cursor: dialect.promote(cursor, self.alias), writes="promote" not in dialect.one_statement)
        return due_in

    def bells(self) -> list[Bell]:
        return [self.dialect.bell(self.connection)]

    def close(self) -> None:
        self.connection.close()

    def find(self, ids: Collection[str]) -> dict[str, Found]:
        jobs = QueuedJob.objects.using(self.database).filter(backend=self.alias, id__in=list(ids))
        return self._asked(lambda: rows.found(jobs))

    def cancel(self, ids: Collection[str], reason: str) -> Cancelled:
        database, alias, done = self.database, self.alias, Cancelled()
        jobs = QueuedJob.objects.using(database).filter(backend=alias)
        for group in self._asked(lambda: list(light_groups(ids, jobs))):
            done |= self._asked(partial(asking.cancel, group, database, alias, reason))
        return done

    def reschedule(self, ids: Collection[str], due: datetime | None) -> frozenset[str]:
        return self._asked(lambda: asking.reschedule(ids, self.database, self.alias, due))

    def depth(self, in_store: bool = False) -> list[Depth]:
        return self._asked(lambda: asking.depths(self.database, self.alias))

    def held(self, worker_ids: Collection[str], limit: int) -> list[Found]:
        return self._asked(lambda: rows.held(worker_ids, limit, self.database, self.alias))

    def peek(self, queue_name: str, limit: int) -> list[Job]:
        return self._asked(lambda: asking.next_in(queue_name, limit, self.database, self.alias))

    def purge(self, queue_name: str) -> int:
        count = 0
        while removed := self._asked(lambda: asking.remove_waiting(queue_name, self.database, self.alias)):
            count += removed
        return count

    def describe(self) -> str:
        product = ""
        if self.connection.connection is not None:  # MySQL and MariaDB must be asked which of the two they are
            with suppress(*OUTAGE):
                product = f"{self.connection.display_name}, "
        return f'database ({product}"{self.database}")'

    def _may_ring(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether this send should wake workers.

        NOTIFY serialises commits, so a burst rings once per RING_PAUSE; a worker that heard it looks by itself for
        longer than that. Inside a transaction it always rings: the commit may be seconds away.
        """
        if in_transaction(connection):
            return True
        now = time.monotonic()
        if now - self._rang_at < RING_PAUSE:
            return False
        self._rang_at = now
        return True

    def _asked(self, question: Callable[[], T]) -> T:
        """Of a thread that may not have used its connection for long, or has put its autocommit off."""
        replace_lost(self.database)
        return self.own(lambda _: question(), is_loops=False)

    def own(self, act: Callable[[CursorWrapper], T], *, writes: bool = False, is_loops: bool = True) -> T:
        """Run a transaction that is ours, again when it lost against another's; never one of a caller's.

        ``writes``: by more than one statement, or where the dialect wants a transaction for every write.
        """
        connection, dialect = self.connection, self.dialect
        # A loop's connection that broke while it was made has no autocommit either, and is in nobody's transaction.
        is_callers = connection.in_atomic_block if is_loops else in_transaction(connection)
        most = TRIES if is_loops else 1  # people are told that somebody was faster
        for tries in range(1, most + 1):
            try:
                with dialect.transaction(connection) if writes else nullcontext(), dialect.cursor(connection) as cursor:
                    return act(cursor)
            except OUTAGE as error:
                explain_missing_table(error, self.database)
                if not is_callers and is_the_datas_fault(error):
                    let_go(connection)  # after a packet that was too big the server has closed it
                    raise DataError(*error.args) from error
                # What the data is at fault for would fail on any connection: it is not an outage.
                if is_callers or isinstance(error, DataError | IntegrityError | ProgrammingError):
                    raise
                if lost_a_race(error) and tries < most:
                    time.sleep(random.uniform(0, 0.02 * tries))  # noqa: S311 - jitter
                    continue
                let_go(connection)
                raise BrokerUnavailable(f"DATABASES[{self.database!r}] cannot be used: {one_line(error)}") from error
        raise AssertionError("unreachable: the last try returns or raises")

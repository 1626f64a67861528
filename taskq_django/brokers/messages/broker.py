"""Jobs that are due travel by an engine; what has or needs a row is run from the store, by the same workers.

The rules that keep a job in one place, whoever dies between two steps: docs/explanation/brokers.rst.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from ...exceptions import BrokerError, BrokerUnavailable, EngineUnavailable
from ...jobs import Claim, Job, Outcome, Progress, Released, Succeeded, size_of
from ...sleeper import Bell
from ...store.dialects.vendors import messages_of
from ...store.weights import HEAVIEST
from ..base import Broker, Cancelled, Depth, Found, Orphans
from ..database.broker import DatabaseBroker
from ..database.outbox import Outbox
from ..database.rows import held_rows
from .bell import EngineBell
from .breaker import Breaker
from .due_rows import DueRows
from .engine import Engine
from .held import HeldMessages, let_go
from .inheritance import Inheritance
from .outside import OutsideJobs
from .publishing import Publisher
from .transport import HOLDER, Transport
from .wishes import Wishes, judged

logger = logging.getLogger("taskq_django.broker")


class MessageBroker(Broker):
    """``rows``: the database broker of the same alias, whose database is the store."""

    is_checked = False

    def __init__(self, alias: str, rows: DatabaseBroker, transport: Transport, *, has_outbox: bool = False) -> None:
        super().__init__(alias)
        self._rows = rows
        self._transport = transport
        self.finds_waiting = transport.finds_waiting
        self._outbox = Outbox(rows)
        self._has_outbox = has_outbox
        self._breaker = Breaker(transport)
        self.outside = self._outside = OutsideJobs(transport, self._breaker)
        self._publisher = Publisher(transport, self._breaker, rows, self._outbox if has_outbox else None)
        self._wishes = Wishes(alias, rows)
        self._inheritance = Inheritance(transport, rows)
        # Of the loop thread:
        self._engine = Engine(alias)
        self._due = DueRows(rows, self._outbox, transport, self._engine)
        self._messages = HeldMessages(transport, self._engine, self._inheritance)
        self._messages_first: set[str] = set()  # queues whose rows have filled the last claim
        self._no_rows: set[str] = set()  # queues of which the last look has found messages alone; each is claimed once
        self._adopted: set[str] = set()  # ids of messages that the store must hold; any thread adds

    @property
    def database(self) -> str:
        return self._rows.database

    # --- any thread -------------------------------------------------------------------------------------------------

    def send(self, jobs: Sequence[Job], in_store: bool = False) -> datetime:
        self._transport.check(jobs)
        if in_store:
            return self._send_rows(jobs)
        rows = [job for job in jobs if job.has_lived or job.run_after is not None or job.delay_us is not None]
        if not rows:
            return self._publisher.send(jobs)
        moment = self._send_rows(rows)
        if len(rows) < len(jobs):
            there = {job.id for job in rows}
            try:
                self._publisher.send([job for job in jobs if job.id not in there])
            except BrokerUnavailable as error:
                error.known = False  # those rows are written
                raise
        return moment

    def _send_rows(self, jobs: Sequence[Job]) -> datetime:
        moment = self._rows.send(jobs)
        if again := [job.id for job in jobs if job.has_lived]:
            self._wishes.forget(again)  # of the life before
        return moment

    def note_begun(self, claim: Claim) -> bool:
        """A message cannot be noted: it goes into the store, and is run from there."""
        if _is_message(claim):
            self._adopted.add(claim.job.id)
            return False
        return self._rows.note_begun(claim)

    def find(self, ids: Collection[str]) -> dict[str, Found]:
        found = self._rows.find(ids)
        left = [id_ for id_ in ids if id_ not in found]
        return found | self._there(left) if left else found

    def _there(self, ids: Collection[str]) -> dict[str, Found]:
        """What this thread has yet to publish of them, and what the engine has, as far as it can tell."""
        found = self._publisher.unpublished(ids)
        left = [id_ for id_ in ids if id_ not in found]
        return found | self._outside.find(left) if left else found

    def watch(self, id_: str, tell: Callable[[], object]) -> bool:
        try:
            return self._breaker.call(lambda: self._transport.watch(id_, tell))
        except BrokerError:
            return False

    def unwatch(self, id_: str, tell: Callable[[], object]) -> None:
        self._transport.unwatch(id_, tell)

    def cancel(self, ids: Collection[str], reason: str) -> Cancelled:
        """Rows as in the database broker. Of the others, and of those that stand in for a message, a wish is kept."""
        standing_in = self._outbox.standing_in(ids)
        done = self._rows.cancel([id_ for id_ in ids if id_ not in standing_in], reason)
        away = done.unknown
        if away and self.finds_waiting:
            away = frozenset(self._there(away))
        if asked := standing_in | away:
            self._wishes.add(asked, reason)
        return Cancelled(done.ended, done.asked | asked, done.ended_before, done.unknown - asked)

    def reschedule(self, ids: Collection[str], due: datetime | None) -> frozenset[str]:
        return self._rows.reschedule(ids, due)

    def depth(self, in_store: bool = False) -> list[Depth]:
        found = {each.queue_name: each for each in self._rows.depth()}
        for each in [] if in_store else self._outside.depth():
            found[each.queue_name] = found.get(each.queue_name, Depth(each.queue_name)) + each
        return [found[name] for name in sorted(found)]

    def held(self, worker_ids: Collection[str], limit: int) -> list[Found]:
        found = self._rows.held(worker_ids, limit)
        return found + self._outside.held(worker_ids, limit - len(found)) if len(found) < limit else found

    def peek(self, queue_name: str, limit: int) -> list[Job]:
        jobs = self._outside.peek(queue_name, limit)
        return [*self._rows.peek(queue_name, limit - len(jobs)), *jobs] if len(jobs) < limit else jobs

    def purge(self, queue_name: str) -> int:
        return self._breaker.call(lambda: self._transport.purge(queue_name)) + self._rows.purge(queue_name)

    def describe(self) -> str:
        return f"{self._transport.describe()}; results and what is not due in {self._rows.describe()}"

    def wait_at_most(self, seconds: float) -> None:
        self._transport.patience = min(type(self._transport).patience, seconds)

    def close(self) -> None:
        self._transport.close()
        self._rows.close()

    # --- the loop thread --------------------------------------------------------------------------------------------

    def ready_queues(self) -> list[str]:
        names, paused = self._rows.own(lambda cursor: messages_of(self._rows.connection).look(cursor, self.alias))
        there: list[str] = []
        if self._messages.is_reachable():
            with self._engine.guard():
                there = [name for name in self._transport.queues() if not self._messages.rests(name)]
        have_rows = set(names)
        new = [name for name in there if name not in have_rows and name not in paused]
        self._no_rows = set(new)
        return [*names, *new]

    def claim(self, queue_names: Sequence[str], limit: int, worker_id: str) -> list[Claim]:
        claims: list[Claim] = []
        for name in queue_names:
            claims += self._claim(name, limit - len(claims), worker_id)
            if len(claims) == limit or sum([size_of(claim.job.payload) for claim in claims]) >= HEAVIEST // 4:
                break
        wished = self._wishes.among([claim.job.id for claim in claims]) if claims else {}
        return judged(claims, wished) if wished else claims

    def _claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        """Rows and messages take turns, because a thousand of the one must not keep one of the other waiting."""
        has_no_rows = queue_name in self._no_rows  # as was seen just now: one that came since waits for this batch
        messages_first = has_no_rows or queue_name in self._messages_first
        self._no_rows.discard(queue_name)
        self._messages_first.discard(queue_name)
        places = [self._due.claim, self._claim_messages]
        first, second = reversed(places) if messages_first else places
        claims = first(queue_name, limit, worker_id)
        is_full = len(claims) == limit or sum([size_of(claim.job.payload) for claim in claims]) >= HEAVIEST // 4
        if is_full and not messages_first:
            self._messages_first.add(queue_name)
        elif not is_full and not has_no_rows:
            claims += second(queue_name, limit - len(claims), worker_id)
        return claims

    def _claim_messages(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        claims = self._messages.claim(queue_name, limit, worker_id)
        if later := [claim for claim in claims if claim.job.run_after is not None]:  # by another hand than ours
            self._due.adopt(later)
            self._messages.let_go(later, [])
            claims = [claim for claim in claims if claim.job.run_after is None]
        return claims

    def settle(self, outcomes: Sequence[Outcome], worker_id: str, unsure: Collection[str] = ()) -> list[Outcome]:
        by_holder: dict[str, list[Outcome]] = {}  # "": those of rows
        for outcome in outcomes:
            receipt = outcome.claim.receipt
            by_holder.setdefault(receipt if receipt.startswith(HOLDER) else "", []).append(outcome)
        rows = by_holder.pop("", [])
        wished = self._wishes.of_ended(outcomes)
        counted = self._rows.settle(rows, worker_id, unsure, forget=wished) if rows else []
        for receipt, messages in by_holder.items():
            counted += self._settle_messages(messages, receipt.removeprefix(HOLDER), worker_id, unsure, wished)
        return counted

    def _settle_messages(
        self, outcomes: Sequence[Outcome], holder: str, author: str, unsure: Collection[str], wished: frozenset[str]
    ) -> list[Outcome]:
        """The store first, where the holder's row decides whether they count; then the engine forgets them."""
        stored: list[Outcome] = []
        free: list[Outcome] = []
        for outcome in outcomes:
            is_stored = self._is_stored(outcome) or (wished and outcome.claim.job.id in wished)
            (stored if is_stored else free).append(outcome)
        known = self._inheritance.written([outcome.claim for outcome in stored if outcome.claim.job.id in unsure])
        new = [outcome for outcome in stored if outcome.claim.job.id not in known]
        forget = wished.intersection([outcome.claim.job.id for outcome in new]) if wished else ()
        if new and not self._rows.record(new, holder, author, sweep=self._has_outbox, forget=forget):
            stored = []  # the holder counts as dead, and somebody else has what it held
        counted = {outcome.claim.job.id for outcome in stored}
        back = [outcome.claim for outcome in free if isinstance(outcome, Released)]
        if adopted := [claim for claim in back if claim.job.id in self._adopted]:
            self._due.adopt(adopted)
            back = [claim for claim in back if claim.job.id not in self._adopted]
            self._adopted.difference_update(claim.job.id for claim in adopted)
        gone = [*(o.claim for o in [*stored, *free] if not isinstance(o, Released) or o.is_kept), *adopted]
        counted |= self._messages.let_go(gone, back) if holder == author else let_go(self._transport, gone, back)
        counted.update(o.claim.job.id for o in free if o.claim.job.id in unsure)  # settled before, as far as is known
        return [outcome for outcome in outcomes if outcome.claim.job.id in counted]

    def _is_stored(self, outcome: Outcome) -> bool:
        """Is there something to write of it? With an outbox there may be a row that must go."""
        if isinstance(outcome, Released):
            return outcome.is_kept
        return not isinstance(outcome, Succeeded) or outcome.value is not None or self._has_outbox

    def note_progress(self, said: Sequence[tuple[Claim, Progress]], *, waits: bool) -> bool:
        return self._rows.note_progress(said, waits=waits)

    def take(self, id_: str, worker_id: str) -> Claim | None:
        claims = self._due.take(id_, worker_id)
        return next(iter(judged(claims, self._wishes.among([id_]))), None)

    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        return self._rows.release_unanswered(worker_id, held) + self._messages.release_unanswered(worker_id, held)

    def cancelled(self, worker_id: str) -> set[str]:
        """A message that has become a row may be one of those, too: so its row is asked whose it is."""
        found = self._rows.cancelled(worker_id)
        if wished := self._wishes.among(self._wishes.seen()):
            found |= {id_ for id_ in wished if self._messages.holds(id_, worker_id)}
            found |= self._rows.own(lambda _: held_rows(self.database, wished, worker_id))
        return found

    def promote(self) -> float | None:
        return self._rows.promote()

    def bells(self) -> list[Bell]:
        return [*self._rows.bells(), EngineBell(self._transport, self._engine)]

    @property
    def sees_all(self) -> bool:
        return self._messages.sees_all

    # --- the supervisor ---------------------------------------------------------------------------------------------

    def orphans(self, heir: str, dead: str | None = None, in_store: bool = False) -> Orphans:
        found = self._rows.orphans(heir, dead)
        if in_store:
            return found
        try:
            messages = self._inheritance.held(heir, dead)
        except EngineUnavailable:
            if dead is not None or not found:
                raise
            return found  # rows need no engine, and whoever asks asks again
        for each, held in messages.items():
            wished = self._wishes.confirmed([claim.job.id for claim, _ in held])
            claims = judged([claim for claim, _ in held], wished)
            found.setdefault(each, []).extend(zip(claims, [age for _, age in held], strict=True))
        return {each: held for each, held in found.items() if held}


def _is_message(claim: Claim) -> bool:
    return claim.receipt.startswith(HOLDER)

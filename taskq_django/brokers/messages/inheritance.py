"""What the dead held of the engine goes to a living process, which settles it. Called by supervisors."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from time import monotonic

from django.db.models import QuerySet

from ...exceptions import BrokerError, BrokerUnavailable, EngineUnavailable, one_line
from ...jobs import Claim
from ...models import WorkerProcess
from ...store.ends import written
from ..database.broker import DatabaseBroker
from .engine import LONGEST_PAUSE, TIMES
from .transport import Transport


class Inheritance:
    def __init__(self, transport: Transport, rows: DatabaseBroker) -> None:
        self._transport = transport
        self._rows = rows
        self._lost: set[str] = set()  # whose messages were inherited, and may not be settled yet
        self._try_at = 0.0  # monotonic
        self._why = ""  # it is not asked before

    def held(self, heir: str, dead: str | None) -> dict[str, list[tuple[Claim, float]]]:
        """What the heir has now of this dead process, or of all lost hosts. Raises EngineUnavailable."""
        asked_at = monotonic()
        if asked_at < self._try_at:
            raise EngineUnavailable(self._why, known=True)
        try:
            return self.of_lost_hosts(heir) if dead is None else {dead: self.of(dead, heir)}
        except BrokerError as error:
            now = monotonic()
            self._try_at, self._why = now + min(LONGEST_PAUSE, TIMES * (now - asked_at)), one_line(error)
            answers = not isinstance(error, BrokerUnavailable) or error.answers
            raise EngineUnavailable(self._why, answers=answers) from error

    def of(self, dead: str, heir: str) -> list[tuple[Claim, float]]:
        """What it held, and since when; without what it has stored the end of, which is removed from the engine."""
        held = self._transport.inherit(dead, heir)
        # Waits for a write of it that is under way, and lets no later one count.
        self._rows.own(lambda _: self._processes([dead])._raw_delete(self._rows.database), writes=True)
        known = self.written([claim for claim, _ in held])
        if known:
            self._transport.ack([claim for claim, _ in held if claim.job.id in known])
        left = [(claim, age) for claim, age in held if claim.job.id not in known]
        if not left:
            self._lost.discard(dead)
        return left

    def of_lost_hosts(self, heir: str) -> dict[str, list[tuple[Claim, float]]]:
        """The same of all that have joined and are not registered, asked in this order: who joins is registered."""
        joined = self._transport.workers()
        self._lost |= joined - self._rows.own(lambda _: set(self._processes(joined).values_list("id", flat=True)))
        found = {dead: self.of(dead, heir) for dead in list(self._lost)}
        return {dead: claims for dead, claims in found.items() if claims}

    def written(self, claims: Collection[Claim]) -> set[str]:
        """The ids of those whose end the store knows."""
        return self._rows.own(lambda _: written(list(claims), self._rows.database)) if claims else set()

    def is_registered(self, worker_id: str) -> bool:
        return self._rows.own(lambda _: self._processes([worker_id]).exists())

    def _processes(self, ids: Iterable[str]) -> QuerySet[WorkerProcess]:
        return WorkerProcess.objects.using(self._rows.database).filter(id__in=list(ids))

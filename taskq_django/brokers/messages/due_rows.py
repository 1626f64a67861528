"""The rows of a message broker that are due: run from the store, unless the engine has their job, or is to have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db import IntegrityError

from ...jobs import Claim
from ...store.stories import read_standings
from ..database.broker import DatabaseBroker
from ..database.outbox import Outbox
from .engine import Engine
from .publishing import WITHIN
from .transport import Transport

ASK_AGAIN = 10.0  # seconds until a row is looked at again whose message the engine may have, and does not say


class DueRows:
    """Loop thread only."""

    def __init__(self, rows: DatabaseBroker, outbox: Outbox, transport: Transport, engine: Engine) -> None:
        self._rows = rows
        self._outbox = outbox
        self._transport = transport
        self._engine = engine

    def claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        return self._to_run(self._rows.claim([queue_name], limit, worker_id))

    def take(self, id_: str, worker_id: str) -> list[Claim]:
        """The one row of this id, if it can be claimed."""
        claim = self._rows.take(id_, worker_id)
        return self._to_run([claim]) if claim else []

    def adopt(self, claims: Sequence[Claim]) -> None:
        """Make rows of messages that must wait, or must be noted when they begin. One that is there already stays."""
        while True:
            known = self._rows.own(lambda _: read_standings([claim.job.id for claim in claims], self._rows.database))
            jobs = [claim.job._replace(attempts=0) for claim in claims if claim.job.id not in known]
            try:
                if jobs:
                    self._rows.own(lambda _, jobs=jobs: self._rows.send(jobs), writes=True)  # type: ignore[misc]
                return
            except IntegrityError:
                continue  # another process has just adopted one of them

    def _to_run(self, claims: list[Claim]) -> list[Claim]:
        # Of any attempt: where a host was lost with the row, nobody knows whether it had begun.
        if doubtful := self._outbox.doubtful(claims):
            claims = self._without_doubt(claims, doubtful)
        if self._transport.has_others:
            claims = self._without_foreign(claims)
        return claims

    def _without_doubt(self, claims: Sequence[Claim], doubtful: Collection[str]) -> list[Claim]:
        """Those that only the store has. The engine is asked first: between the looks a message may become a row."""
        asked = [claim for claim in claims if claim.job.id in doubtful]
        there = None
        if self._engine.is_here:
            with self._engine.guard():
                there = self._transport.known(doubtful)
        if there is None:
            self._outbox.postpone(asked, ASK_AGAIN)
            kept = set()
        else:
            mine = self._outbox.still_mine(asked)
            self._outbox.forget([claim for claim in asked if claim.job.id in there or claim.job.id not in mine])
            kept = mine - there
        return [claim for claim in claims if claim.job.id not in doubtful or claim.job.id in kept]

    def _without_foreign(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those that are not for other workers of the engine; these are published now, because they are due."""
        foreign = [
            claim
            for claim in claims
            if claim.attempt == 1 and not claim.verdict and self._transport.is_for_others(claim.job)
        ]
        if not foreign:
            return list(claims)
        expiry = self._outbox.expiry_of(foreign)
        jobs = [claim.job._replace(expires_us=expiry.get(claim.job.id)) for claim in foreign]
        is_there = False
        if self._engine.is_here:
            with self._engine.guard():
                self._transport.publish(jobs, WITHIN)
                is_there = True
        if is_there:
            self._outbox.forget(foreign)
        else:
            self._outbox.postpone(foreign, ASK_AGAIN)
        ids = {claim.job.id for claim in foreign}
        return [claim for claim in claims if claim.job.id not in ids]

"""Who is to be cancelled of those whose job is, or was, a message: a row of its own, because no engine takes a note."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from time import monotonic

from django.db.models import QuerySet

from ...exceptions import BrokerUnavailable
from ...jobs import Claim, Outcome, Released, Retried
from ...models import CancelWish
from ...models.moments import DatabaseNow
from ...states import State
from ..database.broker import DatabaseBroker

LOOK_AGAIN = 1.0  # seconds


class Wishes:
    """Of one backend. The loop thread looks; any thread adds and forgets."""

    def __init__(self, alias: str, rows: DatabaseBroker) -> None:
        self._alias = alias
        self._rows = rows
        self._seen: frozenset[str] = frozenset()
        self._looked_at = float("-inf")

    def add(self, ids: Iterable[str], reason: str) -> None:
        """In the caller's transaction."""
        wishes = [CancelWish(job_id=id_, backend=self._alias, reason=reason, asked_at=DatabaseNow()) for id_ in ids]
        self._rows.own(lambda _: self._all.bulk_create(wishes, ignore_conflicts=True), writes=True)

    def forget(self, ids: Collection[str]) -> None:
        """In the caller's transaction: these begin a new life."""
        self._rows.own(lambda _: self._all.filter(job_id__in=ids)._raw_delete(self._rows.database), writes=True)

    def of_ended(self, outcomes: Iterable[Outcome]) -> frozenset[str]:
        """Whose wish is to go with the end of the job; of one that is missed here, maintenance finds it.

        Raises nothing where the store is away: there are ends that need it for nothing else.
        """
        with suppress(BrokerUnavailable):
            if seen := self.seen():
                return seen.intersection([o.claim.job.id for o in outcomes if not isinstance(o, Released | Retried)])
        return frozenset()

    def among(self, ids: Collection[str]) -> dict[str, str]:
        """Of these jobs those that are to be cancelled, with the reason. Costs a query a second, while there are none.

        What was seen may be a second old, and its job have begun a new life since: so a hit is asked for again.
        """
        hits = self.seen().intersection(ids)
        return self.confirmed(hits) if hits else {}

    def confirmed(self, ids: Collection[str]) -> dict[str, str]:
        """The same, as it is now."""
        found = self._all.filter(job_id__in=ids).values_list("job_id", "reason")
        return self._rows.own(lambda _: {str(id_): reason for id_, reason in found})

    def seen(self) -> frozenset[str]:
        """The ids of all that are to be cancelled, as of a second ago at most."""
        now = monotonic()
        if now - self._looked_at >= LOOK_AGAIN:
            self._looked_at = now
            found = self._all.filter(backend=self._alias).values_list("job_id", flat=True)
            self._seen = self._rows.own(lambda _: frozenset(map(str, found)))
        return self._seen

    @property
    def _all(self) -> QuerySet[CancelWish]:
        return CancelWish.objects.using(self._rows.database)


def judged(claims: list[Claim], wished: Mapping[str, str]) -> list[Claim]:
    """What somebody wants to cancel is not run. ``wished``: the reasons, by id."""
    return [
        claim._replace(verdict=State.CANCELLED.value, reason=wished[claim.job.id]) if claim.job.id in wished else claim
        for claim in claims
    ]

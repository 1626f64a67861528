"""Rows that stand in for messages until the engine has confirmed these. Their ``sender`` names the publish.

Rows are locked in the order of their ids, as by whoever writes down what came of the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError
from django.db.models import F, Q, QuerySet

from ...jobs import Claim, Job
from ...models import JobResult, QueuedJob
from ...models.moments import DatabaseNow
from ...states import State
from ...store.dialects.messages.base import SentChange
from ...store.dialects.vendors import messages_of
from ...store.stories import read_standings
from .broker import DUE_IN, DatabaseBroker
from .rows import standing_in


class Outbox:
    """``rows``: the database broker of the same store. Any thread; errors are those of its methods."""

    def __init__(self, rows: DatabaseBroker) -> None:
        self._rows = rows

    # --- the sender -------------------------------------------------------------------------------------------------

    def stand_in(self, jobs: Sequence[Job], sender: str) -> datetime:
        """Write rows of jobs that are about to leave, in the caller's transaction; returns when."""
        return self._rows.send(jobs, sender=sender)

    def stand_in_late(self, jobs: Sequence[Job], sender: str) -> datetime:
        """The same of jobs that the engine may have, and a worker may have begun: those that the store knows stay."""
        while True:
            known = self._rows.own(lambda _: read_standings([job.id for job in jobs], self._rows.database))
            left = [job for job in jobs if job.id not in known]
            try:
                return self.stand_in(left, sender) if left else datetime.now(UTC)
            except IntegrityError:  # one of them has just become a row
                continue

    def renew(self, ids: Collection[str], sender: str) -> set[str]:
        """Put off the rows that still stand in for this publish; returns their ids. The others have gone on."""
        return self._change("renew", ids, sender, DUE_IN)

    def confirmed(self, ids: Collection[str], sender: str) -> set[str]:
        """The engine has these: remove their rows, but for those that a worker looks at; returns the ids."""
        return self._change("remove", ids, sender)

    def surely_not_sent(self, ids: Collection[str], sender: str) -> set[str]:
        """The engine has none of these, so they are jobs of the store as any other, ready at once."""
        return self._change("keep", ids, sender)

    def _change(self, change: SentChange, ids: Collection[str], sender: str, seconds: float = 0.0) -> set[str]:
        messages = messages_of(self._rows.connection)
        alone = "change_sent" in messages.one_statement
        return self._rows.own(
            lambda cursor: messages.change_sent(cursor, change, ids, sender, seconds), writes=not alone
        )

    def standing_in(self, ids: Collection[str]) -> set[str]:
        """Those of the ids whose row stands in for a message."""
        return self._rows.own(lambda _: standing_in(self._rows.database, ids))

    # --- who claims -------------------------------------------------------------------------------------------------

    def doubtful(self, claims: Sequence[Claim]) -> set[str]:
        """The ids of the claimed rows whose messages the engine may have, too: of all but those that are held by these
        claims without a sender. A row that is not may have been taken over since, by what came of its message.
        """
        own = self._held(claims).filter(sender=None).values_list("id", flat=True)
        held = self._rows.own(lambda _: {str(id_) for id_ in own}) if claims else set()
        return {claim.job.id for claim in claims} - held

    def still_mine(self, claims: Sequence[Claim]) -> set[str]:
        """The ids of those that are held by these claims, and whose job has no result. For after the engine was asked:
        a message that was there until just now has left a result, or has taken its row over.
        """
        ended = JobResult.objects.using(self._rows.database).filter(id__in=[claim.job.id for claim in claims])
        found = self._held(claims).exclude(id__in=ended.values("id")).values_list("id", flat=True)
        return self._rows.own(lambda _: {str(id_) for id_ in found}) if claims else set()

    def expiry_of(self, claims: Sequence[Claim]) -> dict[str, int]:
        """Of the claimed rows that expire: in how many microseconds, by id."""
        found = self._held(claims).filter(expires_at__isnull=False).annotate(now=DatabaseNow())
        rows = self._rows.own(lambda _: list(found.values_list("id", "expires_at", "now")))
        return {str(id_): max(0, (expires_at - now) // timedelta(microseconds=1)) for id_, expires_at, now in rows}

    def postpone(self, claims: Sequence[Claim], seconds: float) -> int:
        """Give back un-run what nobody can say of whether the engine has it; returns how many rows."""
        back: dict[str, Any] = {
            "status": State.SCHEDULED,
            "available_at": DatabaseNow(seconds),
            "attempts": F("attempts") - 1,
        }
        back |= dict.fromkeys(["token", "worker_id", "claimed_at", "begun_at"])
        return self._change_held(claims, lambda rows: rows.update(**back))

    def forget(self, claims: Sequence[Claim]) -> int:
        """Remove the rows that are held by these claims: their messages are there, or have ended."""
        return self._change_held(claims, lambda rows: rows._raw_delete(rows.db))

    def _change_held(self, claims: Sequence[Claim], act: Callable[[QuerySet[QueuedJob]], int]) -> int:
        def change(_: object) -> int:
            ids = list(self._held(claims).order_by("id").select_for_update().values_list("id", flat=True))
            return act(self._all.filter(id__in=ids)) if ids else 0

        return self._rows.own(change, writes=True) if claims else 0

    def _held(self, claims: Sequence[Claim]) -> QuerySet[QueuedJob]:
        ids_by_token: dict[str, list[str]] = {}
        for claim in claims:
            ids_by_token.setdefault(claim.receipt, []).append(claim.job.id)
        held = Q()
        for token, ids in ids_by_token.items():
            held |= Q(token=token, id__in=ids)
        return self._all.filter(held)

    @property
    def _all(self) -> QuerySet[QueuedJob]:
        return QueuedJob.objects.using(self._rows.database)

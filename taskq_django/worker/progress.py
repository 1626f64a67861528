"""What running tasks say of their progress, on its way into the store.

Any thread says; the loop writes the last thing that each job has said, all of them in one statement. A task's own
connection would not do: what is written there cannot be seen before the task commits.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from time import monotonic

from ..brokers import Broker
from ..exceptions import BrokerError, BrokerUnavailable, clause, counted
from ..jobs import Claim, Outcome, Progress
from ..sleeper import Sleeper
from ..store.connections import OUTAGE
from .reach import Reach

logger = logging.getLogger("taskq_django.worker")

EVERY = 0.5  # seconds between two statements for jobs that run
# Where another transaction was in the way: each try costs the loop up to half a second.
AFTER_A_WAIT = 5.0


class ProgressNotes:
    """Of one process. ``take`` is for any thread, the rest for the loop."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Claim, Progress]] = {}  # by job id, what is not written; any thread adds
        self._write_at = 0.0  # monotonic
        self.sleeper: Sleeper | None = None  # in which the loop sleeps

    def take(self, claim: Claim, progress: Progress) -> None:
        """A run has said this."""
        is_first = not self._said
        self._said[claim.job.id] = claim, progress
        if is_first and self.sleeper is not None and self.sleeper.is_asleep:
            self.sleeper.wake()

    @property
    def next_at(self) -> float:
        """When ``write`` has something to do (monotonic); infinity for never."""
        return self._write_at if self._said else math.inf

    def write(self, reach: Reach) -> None:
        """What the jobs that run have said, when it is time to."""
        if not self._said or monotonic() < self._write_at:
            return
        self._write_at = monotonic() + EVERY
        by_alias: dict[str, list[str]] = {}
        for id_, (claim, _) in list(self._said.items()):
            by_alias.setdefault(claim.job.backend, []).append(id_)
        for broker in reach.here():
            if ids := by_alias.get(broker.alias):
                with reach.guard(broker):
                    if not self._note(broker, ids, waits=False):
                        self._write_at = monotonic() + AFTER_A_WAIT

    def write_last(self, broker: Broker, outcomes: Iterable[Outcome]) -> None:
        """What these runs, which are over, have said last: before their ends are stored. Raises BrokerUnavailable."""
        if self._said and (ids := [o.claim.job.id for o in outcomes if o.claim.job.id in self._said]):
            self._note(broker, ids, waits=True)

    def _note(self, broker: Broker, ids: Sequence[str], *, waits: bool) -> bool:
        said = {id_: self._said.pop(id_) for id_ in ids}
        is_written = False
        try:
            is_written = broker.note_progress(list(said.values()), waits=waits)
        except BrokerUnavailable:
            raise
        except (BrokerError, *OUTAGE) as error:  # its table is missing, say; a bar must not cost a worker its life
            logger.warning("%s; the progress of %s is not kept", clause(error), counted(len(said), "job"))
            is_written = True
        finally:
            if not is_written:
                for id_, each in said.items():
                    self._said.setdefault(id_, each)  # unless something newer has been said meanwhile
        return is_written

"""What a store must do for jobs that an engine carries, and what all databases share.

A message has no row and no token. Its fence is the row of the process that holds it: while this row is there and
locked, nobody has counted the process as dead, and what it writes is heard of by who comes after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Literal

from django.db.backends.utils import CursorWrapper

from ....jobs import Discarded, Ended, Failed, Outcome, Released, Retried, Succeeded
from ....models import CancelWish, WorkerProcess
from ..base import JOB, JOB_COLUMNS, PAUSED, READY_QUEUES, Dialect, excluded

WORKER = WorkerProcess._meta.db_table
WISH = CancelWish._meta.db_table

# A row of an id that came in a message. It is the same job, seen earlier: it has begun less often, or it stands in for
# this very message. Any other row is a later retry, or one by hand, and stays.
IS_EARLIER = f"({JOB}.attempts < {{}} OR {JOB}.sender IS NOT NULL)"

ROW_CONFLICT = (
    f"ON CONFLICT (id) DO UPDATE SET {excluded(JOB_COLUMNS.format(rank='rank'))}, "
    "token = NULL, worker_id = NULL, claimed_at = NULL, begun_at = NULL, sender = NULL "
    f"WHERE {IS_EARLIER.format('excluded.attempts')}"
)

# In one round trip, because a message that is due waits for it.
LOOK = f"""
SELECT queue_name, 0 FROM ({READY_QUEUES}) AS ready
UNION ALL SELECT queue_name, 1 FROM {PAUSED} WHERE backend = %s"""

SentChange = Literal["renew", "remove", "keep"]
# The condition beside the ids, and what is set; the moments are the vendors'.
IS_SENT = "sender = %s AND status <> 'RUNNING'"
RENEWED = "status = 'SCHEDULED', available_at = {}"
KEPT = "status = 'READY', available_at = {}, sender = NULL"

by_id = attrgetter("claim.job.id")


class Messages(ABC):
    """The statements of one database vendor, beside those of its dialect. Stateless, as a Dialect is.

    What gets a cursor runs in a transaction that the caller has begun, unless it is named in ``one_statement``.
    """

    # The methods that write by one statement, which needs no transaction round it; ``record`` of successes alone does.
    one_statement: frozenset[str] = frozenset()

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def record(
        self, cursor: CursorWrapper, outcomes: Sequence[Outcome], holder: str, author: str, sweep: bool = False
    ) -> bool:
        """Write down what came of messages, if the process ``holder`` is registered; its row is locked against removal.

        False: it is not, and nothing was written. True: everything counts, also what was written before or gives way
        to a later report of the same job.

        What ends becomes a result, unless it is a success that keeps none; of several results of one id the one of
        more attempts is kept. What was cut off becomes a row and keeps its place; what has failed and is tried again,
        and what is to wait, queues anew. What goes back un-run at once is not for here, because it stays a message.
        Failed attempts are written over earlier reports of the same. ``author``: who has run them.

        ``sweep``: rows may stand in for these messages, and what ends takes its row along. The rows are locked in the
        order of their ids.
        """
        outcomes = sorted(outcomes, key=by_id)
        ended: list[Ended] = [o for o in outcomes if isinstance(o, Succeeded | Failed | Discarded)]
        back: list[Retried | Released] = [o for o in outcomes if isinstance(o, Retried | Released)]
        if not self.end(cursor, ended, back, holder, author, sweep):
            return False
        if back:
            self.put_back(cursor, back)
        if broken := [o for o in outcomes if isinstance(o, Failed | Retried)]:
            self.dialect.record_failures(cursor, broken, author)
        return True

    @abstractmethod
    def end(
        self,
        cursor: CursorWrapper,
        ended: Sequence[Ended],
        back: Sequence[Retried | Released],
        holder: str,
        author: str,
        sweep: bool,
    ) -> bool:
        """Lock the holder's row, and with ``sweep`` those of all these jobs; then write the results, and sweep."""

    @abstractmethod
    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Released]) -> None:
        """Write rows, in the order of their ids, over those that are earlier."""

    @abstractmethod
    def change_sent(
        self, cursor: CursorWrapper, change: SentChange, ids: Collection[str], sender: str, seconds: float = 0.0
    ) -> set[str]:
        """Change the rows with these ids that stand in for this publish and that nobody holds; returns their ids.

        They are locked in the order of their ids. ``renew``: due in so many seconds; ``remove``; ``keep``: rows that
        stand in for nothing, ready in so many seconds.
        """

    def look(self, cursor: CursorWrapper, backend: str) -> tuple[list[str], set[str]]:
        """The queues that have READY rows, without the paused ones; and the paused ones. Locks nothing."""
        cursor.execute(LOOK, [backend] * 4)
        found = cursor.fetchall()
        return [name for name, paused in found if not paused], {name for name, paused in found if paused}

    def forget_wishes(self, cursor: CursorWrapper, ids: Collection[str]) -> None:
        """Remove the wishes to cancel these jobs."""
        if ids:
            keys = [id_.replace("-", "") for id_ in sorted(ids)]  # as every database reads them
            cursor.execute(f"DELETE FROM {WISH} WHERE job_id IN ({', '.join(['%s'] * len(keys))})", keys)

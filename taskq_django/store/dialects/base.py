"""The SQL that every database answers, and what a dialect must add.

Only here and in the dialects is SQL written by hand: the ORM costs the client 2.5 times the CPU of the
statement for an insert, and has no UPDATE … RETURNING.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...jobs import Claim, Ended, Failed, Job, Released, Retried
from ...models import JobAttempt, JobResult, PausedQueue, QueuedJob
from ...sleeper import Bell
from ..limits import Limits, limits_of

JOB = QueuedJob._meta.db_table
RESULT = JobResult._meta.db_table
ATTEMPT = JobAttempt._meta.db_table
PAUSED = PausedQueue._meta.db_table

# The order of whatever is inserted; ``rank`` is a reserved word of MySQL 8.
JOB_COLUMNS = (
    "id, task_path, backend, queue_name, status, {rank}, available_at, enqueued_at, run_after, expires_at, payload, "
    "headers, tries, attempts, crashes, losses, started_at"
)
RESULT_COLUMNS = (
    "id, task_path, backend, queue_name, priority, status, enqueued_at, run_after, started_at, last_attempted_at, "
    "finished_at, payload, headers, tries, attempts, crashes, worker_id, return_value, exception_class, message"
)
ATTEMPT_COLUMNS = "job_id, number, worker_id, started_at, finished_at, exception_class, message, traceback"


def excluded(columns: str) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in columns.split(", "))


INTO_RESULTS = f"INSERT INTO {RESULT} ({RESULT_COLUMNS})"
INTO_ATTEMPTS = f"INSERT INTO {ATTEMPT} ({ATTEMPT_COLUMNS})"

# Where there is a result already, the one of more attempts is kept; of two reports of one attempt the last.
RESULT_CONFLICT = (
    f"ON CONFLICT (id) DO UPDATE SET {excluded(RESULT_COLUMNS)} WHERE {RESULT}.attempts < excluded.attempts"
)
ATTEMPT_CONFLICT = f"ON CONFLICT (job_id, number) DO UPDATE SET {excluded(ATTEMPT_COLUMNS)}"

# Of a job that is sent for the first time and ready at once: it tells no more than this.
INSERT_PLAIN = f"""
INSERT INTO {JOB} (id, task_path, payload, backend, queue_name, {{rank}}, headers, tries, status, available_at,
                   enqueued_at, attempts, crashes)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'READY', {{now}}, {{now}}, 0, 0) RETURNING """

# Of a row that is being claimed: what its job ends as instead of being run. In braces: now.
VERDICT = (
    "CASE WHEN cancel_requested_at IS NOT NULL THEN 'CANCELLED' "
    "WHEN expires_at <= {} AND started_at IS NULL THEN 'EXPIRED' ELSE '' END"
)

# In braces: what a dialect asks of the first one that is due.
NEXT_DUE = f"SELECT {{}} FROM {JOB} WHERE backend = %s AND status = 'SCHEDULED'"

# A loose index scan: one probe per queue, however many jobs are in it (a paused queue of 500,000 costs one).
READY_QUEUES = f"""
WITH RECURSIVE found(queue_name) AS (
  SELECT MIN(queue_name) FROM {JOB} WHERE backend = %s AND status = 'READY'
  UNION ALL
  SELECT (SELECT MIN(queue_name) FROM {JOB} WHERE backend = %s AND status = 'READY' AND queue_name > found.queue_name)
  FROM found WHERE found.queue_name IS NOT NULL)
SELECT queue_name FROM found WHERE queue_name IS NOT NULL AND NOT EXISTS
  (SELECT 1 FROM {PAUSED} p WHERE p.backend = %s AND p.queue_name = found.queue_name)
"""

# How many scheduled jobs become ready in one statement: short locks, and the loop comes back for more.
PROMOTED_AT_ONCE = 1000


class Dialect(ABC):
    """The statements of one database vendor. Stateless; one instance serves all threads.

    What gets a cursor raises what the database raises, as Django's errors, and begins no transaction: the caller has
    begun one, unless the method is named in ``one_statement``. A receipt is the token that a claim has written into
    the row; what is locked stays so until the transaction ends.
    """

    # The methods that write by one statement, which needs no transaction round it.
    one_statement: frozenset[str] = frozenset()
    seconds_to_next: str  # the statement of ``next_due``

    def needs(self, connection: BaseDatabaseWrapper) -> str:
        """The version that this server should have and has not; "" when it is new enough. Connects."""
        return ""

    def transaction(self, connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
        """For the loop's writes; the lock may be waited for, within the limits of the thread."""
        limits = limits_of(connection)
        return self.limited(connection, limits) if limits else transaction.atomic(using=connection.alias)

    def cursor(self, connection: BaseDatabaseWrapper) -> CursorWrapper:
        """For the statements of this dialect."""
        return connection.cursor()

    def welcome(self, connection: BaseDatabaseWrapper) -> None:
        """A connection for tasks, which must not fail what others do on this database because it is a worker's."""
        return  # servers let everybody in

    def limited(self, connection: BaseDatabaseWrapper, limits: Limits) -> AbstractContextManager[None]:
        """A transaction that the server ends when it stands still for too long, and that waits for no lock for longer
        than it may: bounds what a stopped process, or a host that cannot be reached, keeps others from doing.
        """
        return transaction.atomic(using=connection.alias)

    @abstractmethod
    def insert(self, cursor: CursorWrapper, jobs: Sequence[Job], ring: bool) -> datetime:
        """Write rows of jobs, READY or SCHEDULED, with the counters and times that they come with.

        Returns when, by the database's clock. ``ring``: wake those who listen, once this is committed. Locks nothing
        else. Raises IntegrityError where there is a row of one of the ids; what was written before is rolled back by
        the caller.
        """

    @abstractmethod
    def stand_in(self, cursor: CursorWrapper, jobs: Sequence[Job], sender: str, seconds: float) -> datetime:
        """As ``insert``, of jobs that are never sent before and due now, whose messages are to follow.

        They are due as rows in so many seconds, unless this sender is done with them before. Nobody is woken.
        """

    @abstractmethod
    def claim(
        self, cursor: CursorWrapper, backend: str, queue_names: Sequence[str], limit: int, worker_id: str, token: str
    ) -> list[Claim]:
        """Make up to ``limit`` READY rows of these queues RUNNING under this token and count their start.

        Returns them in the order of the queues and, of each, of the claim; rows that others have locked passed over,
        and fewer where they are heavy. The rows are locked (on SQLite: the database).
        """

    @abstractmethod
    def end(self, cursor: CursorWrapper, outcomes: Sequence[Ended], over: bool = False) -> set[str]:
        """Move rows that still have the token of their claim to the results, or remove them where none is kept.

        Returns the ids of their jobs; they are locked. A row that waits may be ended too, by who has given it a token;
        then nothing has begun.

        Where there is a result of an id already, the one of more attempts is kept if ``over``. Without it PostgreSQL,
        MariaDB and MySQL raise IntegrityError, because to look for one costs; SQLite always looks.
        """

    @abstractmethod
    def put_back(self, cursor: CursorWrapper, outcomes: Sequence[Retried | Released]) -> set[str]:
        """Make rows READY or SCHEDULED that still have the token of their claim, and take it from them.

        Returns the ids of their jobs; they are locked. What has failed or is to wait queues anew, the rest keeps its
        place.
        """

    @abstractmethod
    def record_failures(self, cursor: CursorWrapper, outcomes: Sequence[Failed | Retried], worker_id: str) -> None:
        """Write down attempts that failed, over earlier reports of the same; of claims that were held, as ``end`` and
        ``put_back`` have found in this transaction.
        """

    def next_due(self, cursor: CursorWrapper, backend: str) -> float | None:
        """Seconds until the first scheduled job is due, by the database's clock; None for none. Locks nothing."""
        cursor.execute(self.seconds_to_next, [backend])
        seconds: float | None = cursor.fetchone()[0]
        return seconds

    @abstractmethod
    def promote(self, cursor: CursorWrapper, backend: str) -> None:
        """Make up to PROMOTED_AT_ONCE due jobs ready, the first ones; those that others have locked are passed over."""

    def ring(self, cursor: CursorWrapper) -> None:
        """Wake those who listen, once this transaction is committed: of rows that another method has not written."""
        return  # other databases' bells hear each commit, or none

    @abstractmethod
    def bell(self, connection: BaseDatabaseWrapper) -> Bell:
        """A new one, for a loop that works on this connection. Nothing is asked yet."""

    def ready_queues(self, cursor: CursorWrapper, backend: str) -> list[str]:
        """The queues that have READY rows, without the paused ones. Locks nothing."""
        cursor.execute(READY_QUEUES, [backend, backend, backend])
        return [name for (name,) in cursor.fetchall()]

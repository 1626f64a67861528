"""The rows that say who is working. A supervisor's row is the lease of its processes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from uuid import uuid4

from django.db import DatabaseError, InterfaceError, connections

from ..brokers import let_go, own_transaction
from ..clock import DatabaseNow
from ..models import WorkerProcess
from .blackboard import Blackboard

logger = logging.getLogger("taskq_django.worker")

# Between two tries while the store is away: its processes may begin nothing before the lease is renewed.
LONGEST_PAUSE = 3.0  # seconds

OUTAGE = (DatabaseError, InterfaceError)


def new_worker_id(name: str) -> str:
    """An incarnation: unique over hosts and restarts, and readable."""
    return f"{name[:80]}/{os.getpid()}-{uuid4().hex[:8]}"


def default_name() -> str:
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


class Lease:
    """Registers one worker, in every database that it claims from, and renews its rows. One thread owns it.

    All moments are the database's. A process's clock only measures how long ago the last renewal was sent.
    """

    def __init__(
        self, name: str, databases: Sequence[str], *, every: float, lasts: float, described: Mapping[str, str]
    ) -> None:
        """``lasts``: seconds without a renewal after which others count this worker as lost.

        ``described``: more fields of the rows, for people.
        """
        self.worker_id = new_worker_id(name)
        self.boards: list[Blackboard] = []  # of the processes that live by this lease
        self._children: set[str] = set()  # ids of its processes
        self._name = name
        self._databases = databases
        self._every = every
        self._lasts = lasts
        self._described = described
        self._renew_at = float("-inf")
        self._renewed_at = float("-inf")
        # Since when every renewal came in time. After an outage others get as long to say that they live.
        self._steady_since = float("inf")
        self._failures = 0  # renewals in a row that were not answered

    def register(self, children: Sequence[str] = ()) -> None:
        """Write the row of this worker, or those of processes that are about to start. Raises OUTAGE."""
        rows = [(id_, self.worker_id) for id_ in children] if children else [(self.worker_id, None)]
        sent_at = monotonic()
        for database in self._databases:
            with own_transaction(database):
                WorkerProcess.objects.using(database).bulk_create(
                    WorkerProcess(
                        id=id_,
                        supervisor_id=supervisor,
                        name=self._name[:100],
                        host=socket.gethostname()[:255],
                        pid=0 if children else os.getpid(),
                        started_at=DatabaseNow(),
                        seen_at=DatabaseNow(),
                        **self._described,
                    )
                    for id_, supervisor in rows
                )
        if children:
            self._children.update(children)
        else:
            self._hold(sent_at)
            self._renew_at = sent_at + self._every

    def note_pids(self, pids: Sequence[tuple[str, int]]) -> None:
        """The numbers that the system has given to processes; for people, so that a failure does not matter."""
        with suppress(*OUTAGE):
            for database in self._databases:
                with own_transaction(database):
                    for id_, pid in pids:
                        WorkerProcess.objects.using(database).filter(id=id_).update(pid=pid)

    def renew(self) -> bool:
        """Say that this worker lives, when it is time to. False: others have counted it as lost."""
        now = monotonic()
        if now < self._renew_at:
            return True
        self._renew_at = now + self._every
        held = True
        try:
            for database in self._databases:
                with own_transaction(database):
                    rows = WorkerProcess.objects.using(database)
                    held = bool(rows.filter(id=self.worker_id).update(seen_at=DatabaseNow())) and held
                    # Those who count a worker as lost remove the rows of its processes first: its own may be locked,
                    # by a renewal in the middle of which it was stopped.
                    left = rows.filter(id__in=self._children).count()
                    held = held and left == len(self._children)
        except OUTAGE as error:
            self._failures += 1
            pause = min(self._every, LONGEST_PAUSE, 0.25 * 2 ** min(self._failures, 8))
            self._renew_at = now + pause
            text = " ".join(str(error).split())
            logger.warning("The lease could not be renewed: %s; next try in %.1f s (%d)", text, pause, self._failures)
            self._let_go_of_connections()
            return True
        if held:
            self._hold(now)
        return held

    def start_anew(self) -> None:
        """Register under a new id, after others have counted the old one as lost. Raises OUTAGE."""
        self.worker_id = new_worker_id(self._name)
        self.boards = []  # those processes live by the old lease, which has ended
        self._children = set()
        self.register()

    @property
    def is_held(self) -> bool:
        """Was the last renewal answered?"""
        return self._failures == 0

    def bury(self) -> None:
        """Remove the rows of workers that have been silent for longer than a lease. Raises BrokerUnavailable.

        Only after a whole lease of own signs of life: when the store has been away, nobody could give one.
        """
        now = monotonic()
        if now - self._steady_since < self._lasts or now - self._renewed_at > self._lasts - self._every:
            return
        try:
            for database in self._databases:
                silent = WorkerProcess.objects.using(database).filter(
                    supervisor=None, seen_at__lt=DatabaseNow(-self._lasts)
                )
                ids = list(silent.values_list("id", flat=True))
                if monotonic() - now > self._every:
                    return  # the store has stalled: in its answer everybody is silent, this worker too
                if ids:
                    self._remove(database, ids)
        except OUTAGE as error:
            logger.warning("Silent workers could not be looked for: %s", " ".join(str(error).split()))
            self._let_go_of_connections()

    def _remove(self, database: str, ids: Sequence[str]) -> None:
        rows = WorkerProcess.objects.using(database)
        with own_transaction(database):
            rows.filter(supervisor_id__in=ids)._raw_delete(database)
        for id_ in ids:
            logger.warning("Worker %s has given no sign of life for %g s and counts as lost", id_, self._lasts)
        # Its own row may be locked by a session that nobody has ended yet; then it is removed by a later look.
        with own_transaction(database):
            gone = rows.filter(id__in=ids, seen_at__lt=DatabaseNow(-self._lasts))
            if connections[database].features.has_select_for_update_skip_locked:
                gone = rows.filter(id__in=list(gone.select_for_update(skip_locked=True).values_list("id", flat=True)))
            gone._raw_delete(database)

    def forget(self, ids: Sequence[str]) -> None:
        """Remove the rows of processes that have ended, or of this worker."""
        self._children.difference_update(ids)
        try:
            for database in self._databases:
                with own_transaction(database):
                    WorkerProcess.objects.using(database).filter(id__in=list(ids))._raw_delete(database)
        except OUTAGE as error:
            logger.warning("Rows of ended workers stay behind: %s", " ".join(str(error).split()))

    def _hold(self, sent_at: float) -> None:
        if self._failures or sent_at - self._renewed_at > self._lasts - self._every:
            self._steady_since = sent_at
            self._failures = 0
        self._renewed_at = sent_at
        for board in self.boards:
            board.renewed(sent_at)

    def covers(self, board: Blackboard) -> None:
        """Let another process live by this lease."""
        board.renewed(self._renewed_at)
        self.boards.append(board)

    def _let_go_of_connections(self) -> None:
        for database in self._databases:
            let_go(connections[database])

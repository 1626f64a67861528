"""The rows that say who is working. A supervisor's row is the lease of its processes."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic
from uuid import uuid4

from django.db import connections
from django.db.models import Q

from ..backoff import wait_after
from ..exceptions import one_line
from ..models import WorkerProcess
from ..models.moments import DatabaseNow
from ..store.connections import OUTAGE, let_go, own_transaction
from .blackboard import Blackboard

logger = logging.getLogger("taskq_django.worker")

# A loop that was not seen for so long does not turn: it hangs, or a task holds the interpreter.
STILL = 5.0  # seconds


def new_worker_id(name: str) -> str:
    """An incarnation: unique over hosts and restarts, and readable."""
    return f"{name[:80]}/{os.getpid()}-{uuid4().hex[:8]}"


def default_name() -> str:
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


class Lease:
    """Registers one worker, in every database that it claims from, and renews its rows. One thread owns it.

    A clock may be put forward or back at any time, the database's and a host's. So what a row says is compared only
    with what it said before: a worker counts as lost when its row has not changed for a whole lease, by the monotonic
    clock of whoever looks. Moments are written by the database's clock, for people.
    """

    def __init__(
        self, name: str, databases: Sequence[str], *, every: float, lasts: float, described: Mapping[str, str]
    ) -> None:
        """``lasts``: seconds without a renewal after which others count this worker as lost.

        ``described``: more fields of the rows, for people.
        """
        self.worker_id = new_worker_id(name)
        self.boards: list[Blackboard] = []  # of the processes that live by this lease
        self._serving = 0  # of these processes, as was written last
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
        # Of other workers, by database and id: the last sign of life, and when it was first known (monotonic).
        self._signs: dict[str, dict[str, tuple[datetime, float]]] = {}

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
                        serving=None if supervisor else 0,
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
        serving = sum(now - board.turned_at < STILL for board in self.boards)
        if now < self._renew_at and (serving == self._serving or self._failures):
            return True
        self._renew_at = now + self._every
        held = True
        try:
            for database in self._databases:
                with own_transaction(database):
                    rows = WorkerProcess.objects.using(database)
                    own = rows.filter(id=self.worker_id)
                    held = bool(own.update(seen_at=DatabaseNow(), serving=serving)) and held
                    # Those who count a worker as lost remove the rows of its processes first: its own may be locked,
                    # by a renewal in the middle of which it was stopped.
                    left = rows.filter(id__in=self._children).count()
                    held = held and left == len(self._children)
        except OUTAGE as error:
            self._failures += 1
            # Not long: its processes may begin nothing before the lease is renewed.
            seconds = min(self._every, wait_after(self._failures, first=0.5))
            self._renew_at = now + seconds
            logger.warning(
                "The lease could not be renewed: %s; next try in %.1f s (%d)", one_line(error), seconds, self._failures
            )
            self._let_go_of_connections()
            return True
        self._serving = serving
        if held:
            self._hold(now)
        return held

    def start_anew(self) -> None:
        """Register under a new id, after others have counted the old one as lost. Raises OUTAGE."""
        self.worker_id = new_worker_id(self._name)
        self.boards = []  # those processes live by the old lease, which has ended
        self._children = set()
        self._serving = 0
        self.register()

    @property
    def is_held(self) -> bool:
        """Was the last renewal answered?"""
        return self._failures == 0

    def bury(self) -> None:
        """Remove the rows of workers that have been silent for a lease, as far as this one has seen.

        Only after a whole lease of own signs of life: when the store has been away, nobody could give one.
        """
        try:
            for database in self._databases:
                for id_ in self._silent(database):
                    self._remove(database, id_)
        except OUTAGE as error:
            logger.warning("Silent workers could not be looked for: %s", one_line(error))
            self._let_go_of_connections()

    def burial_in(self) -> float:
        """Seconds until the first of the workers that are silent now will have been so for a lease."""
        ages = (monotonic() - since for signs in self._signs.values() for _, since in signs.values())
        return min((self._lasts - age for age in ages if age < self._lasts), default=math.inf)

    def _silent(self, database: str) -> list[str]:
        """Look at all rows; the ids of those whose sign of life has been the same for a lease."""
        others = WorkerProcess.objects.using(database).filter(supervisor=None).exclude(id=self.worker_id)
        asked_at = monotonic()
        rows = list(others.values_list("id", "seen_at"))
        answered_at = monotonic()
        known = self._signs.get(database, {})
        self._signs[database] = signs = {
            id_: known[id_] if id_ in known and known[id_][0] == seen_at else (seen_at, answered_at)
            for id_, seen_at in rows
        }
        if answered_at - asked_at > self._every:
            return []  # the store has stalled: in its answer everybody is silent, this worker too
        if asked_at - self._steady_since < self._lasts or asked_at - self._renewed_at > self._lasts - self._every:
            return []
        return [id_ for id_, (_, since) in signs.items() if asked_at - since >= self._lasts]

    def _remove(self, database: str, id_: str) -> None:
        """In one transaction, which waits for nobody: a row may be locked by a session that nobody has ended yet.

        What is locked is removed by a later look. Until then its worker's own row stays, by which it is found.
        """
        rows = WorkerProcess.objects.using(database)
        with own_transaction(database):
            family = rows.filter(Q(id=id_) | Q(supervisor_id=id_))
            free = dict(family.select_for_update(skip_locked=True).values_list("id", "seen_at"))
            if id_ in free and free[id_] != self._signs[database][id_][0]:
                return  # it has given one meanwhile
            if family.exclude(id__in=list(free)).exclude(id=id_).exists():
                free.pop(id_, None)
            rows.filter(id__in=list(free))._raw_delete(database)
        if free:
            logger.warning("Worker %s has given no sign of life for %g s and counts as lost", id_, self._lasts)

    def forget(self, ids: Sequence[str]) -> None:
        """Remove the rows of processes that have ended, or of this worker."""
        self._children.difference_update(ids)
        try:
            for database in self._databases:
                with own_transaction(database):
                    WorkerProcess.objects.using(database).filter(id__in=list(ids))._raw_delete(database)
        except OUTAGE as error:
            logger.warning("Rows of ended workers stay behind: %s", one_line(error))

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

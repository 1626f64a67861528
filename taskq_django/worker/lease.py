"""The rows that say who is working. A supervisor's row in a database is the lease of its processes there."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import uuid4

from django.db import connections

from ..backoff import wait_after
from ..exceptions import clause, one_line
from ..models import WorkerProcess, WorkerRequest
from ..models.moments import DatabaseNow
from ..store.connections import OUTAGE, let_go, own_transaction

logger = logging.getLogger("taskq_django.worker")


def new_worker_id(name: str) -> str:
    """An incarnation: unique over hosts and restarts, and readable."""
    return f"{name[:80]}/{os.getpid()}-{uuid4().hex[:8]}"


def default_name() -> str:
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


class Lease:
    """Of one worker in one database: registers it and its processes there, and renews. One thread owns it.

    Nothing here raises when the database is away: what is to be written is written by the first renewal that succeeds.

    A clock may be put forward or back at any time, the database's and a host's. So what a row says is compared only
    with what it said before: a worker counts as lost when its row has not changed for a whole lease, by the monotonic
    clock of whoever looks. Moments are written by the database's clock, for people.
    """

    def __init__(
        self,
        name: str,
        database: str,
        *,
        every: float,
        lasts: float,
        described: Mapping[str, Any],
        is_alone: bool = True,
    ) -> None:
        """``lasts``: seconds without a renewal after which others count this worker as lost.

        ``described``: more fields of the rows, for people; ``is_alone``: the worker has no other lease.
        """
        self.database = database
        self._name = name
        self._every = every
        self._lasts = lasts
        self._described = described
        self._is_alone = is_alone
        self.vitals: Callable[[], Mapping[str, Any]] = dict  # fields of the worker's own row, as they are now
        self._ended: set[str] = set()  # ids of processes whose rows are to be removed
        # Of other workers, by id: the last sign of life, and when it was first known (monotonic).
        self._signs: dict[str, tuple[datetime, float]] = {}
        self.worker_id = self._id_before = ""
        self._is_lost = False
        self._start("")

    def _start(self, worker_id: str) -> None:
        # By its own will only, it goes on with what it was asked to do under the id before.
        self._id_before = "" if self._is_lost else self._id_before or self.worker_id
        self.worker_id = worker_id
        self._pids: dict[str, int] = {}  # of its processes that live, by the id of each
        self._disowned: set[str] = set()  # ids of its processes that have ended, and whose jobs are to be rescued
        self._written: set[str] = set()  # ids whose rows are there
        self._serving = 0  # of the processes, as was written last
        self._renew_at = self.renewed_at = self._answered_at = float("-inf")
        # Since when every renewal came in time. After an outage others get as long to say that they live.
        self._steady_since = float("inf")
        self._failures = 0  # renewals in a row that were not answered
        self._is_lost = False
        self.request = ""  # what somebody has asked this worker to do, as of the last renewal

    def register(self, worker_id: str) -> None:
        """This worker, under a new id: it has just started, or others have counted the old one as lost."""
        self._start(worker_id)
        self.renew(0)

    def enrol(self, pids: Mapping[str, int]) -> None:
        """Processes that have started, by their ids. They must claim nothing before they are covered."""
        self._pids |= pids
        self.renew_soon()

    def covers(self, id_: str) -> bool:
        """Is this process registered? Who is not counts as dead."""
        return id_ in self._written

    def disown(self, id_: str) -> None:
        """This process has ended. Its row stays until its jobs are rescued, and may be removed by who rescues them."""
        if self._pids.pop(id_, None) is not None:
            self._disowned.add(id_)

    def forget(self, ids: Collection[str]) -> None:
        """Remove the rows of processes that have ended."""
        self._ended |= set(ids)
        for id_ in ids:
            self._pids.pop(id_, None)
            self._disowned.discard(id_)
        self.renew_soon()

    def leave(self) -> None:
        """This worker ends, and its processes have ended."""
        ids = [self.worker_id, *self._pids, *self._disowned, *self._ended]
        try:
            with own_transaction(self.database):
                self._delete(ids)
        except OUTAGE as error:
            logger.warning("Rows of ended workers stay behind: %s", one_line(error))

    def renew(self, serving: int) -> bool:
        """Say that this worker lives, when it is time to. False: others have counted it as lost.

        ``serving``: how many of its processes' loops turn.
        """
        now = monotonic()
        if self._is_lost:
            return False
        if now < self._renew_at and (serving == self._serving or self._failures):
            return True
        vitals = self.vitals()  # first, because to read them takes time, and others wait for who writes
        try:
            with own_transaction(self.database):
                is_held = self._write(serving, vitals)
        except OUTAGE as error:
            self._failures += 1
            # Not long: its processes may begin nothing before the lease is renewed.
            pause = wait_after(self._failures, first=0.5)
            if not self._is_alone:  # while this one was asked, nobody could look after the others
                pause = max(pause, 2 * (monotonic() - now))
            pause = min(self._every, pause)
            self._renew_at = monotonic() + pause
            text = clause(error)
            logger.warning("The lease could not be renewed: %s; next try in %.1f s (%d)", text, pause, self._failures)
            let_go(connections[self.database])
            return True
        if is_held:
            self._written = {self.worker_id, *self._pids}
            self._ended.clear()
            self._id_before = ""
            self._serving = serving
            self._hold(now)
        self._is_lost = not is_held
        return is_held

    def renew_soon(self) -> None:
        """Now, if the database answers; else what is to be written waits until it does."""
        if self.is_held:
            self._renew_at = float("-inf")
            self.renew(self._serving)

    def _write(self, serving: int, vitals: Mapping[str, Any]) -> bool:
        rows = WorkerProcess.objects.using(self.database)
        new = [id_ for id_ in (self.worker_id, *self._pids) if id_ not in self._written]
        # A conflict: they had been written, though the answer never came.
        rows.bulk_create(map(self._row, new), ignore_conflicts=True)
        if self._ended:
            self._delete(self._ended)
        is_there = rows.filter(id=self.worker_id).update(seen_at=DatabaseNow(), serving=serving, **vitals)
        requests = WorkerRequest.objects.using(self.database)
        if self._id_before:
            requests.filter(worker_id=self._id_before).update(worker_id=self.worker_id)
        self.request = requests.filter(worker_id=self.worker_id).values_list("request", flat=True).first() or ""
        # Those who count a worker as lost remove the rows of its processes first: its own may be locked, by a renewal
        # in the middle of which it was stopped.
        return bool(is_there) and rows.filter(id__in=self._pids).count() == len(self._pids)

    def _row(self, id_: str) -> WorkerProcess:
        is_process = id_ != self.worker_id
        return WorkerProcess(
            id=id_,
            supervisor_id=self.worker_id if is_process else None,
            name=self._name[:100],
            host=socket.gethostname()[:255],
            pid=self._pids.get(id_, os.getpid()),
            serving=None if is_process else 0,
            started_at=DatabaseNow(),
            seen_at=DatabaseNow(),
            **self._described,
        )

    def _hold(self, sent_at: float) -> None:
        answered_at = monotonic()
        # From answer to answer: of a store that was mute before this was sent, and while it was, each part is short.
        if self._failures or answered_at - self._answered_at > self._lasts - self._every:
            self._steady_since = answered_at
            self._failures = 0
        self._answered_at = answered_at
        self.renewed_at = sent_at
        self._renew_at = sent_at + self._every

    @property
    def is_held(self) -> bool:
        """Was the last renewal answered?"""
        return self._failures == 0

    def bury(self) -> None:
        """Remove the rows of workers that have been silent for a lease, as far as this one has seen.

        Only after a whole lease of own signs of life: when the store has been away, nobody could give one.
        Raises OUTAGE.
        """
        for id_ in self._silent():
            self._remove(id_)

    def burial_in(self) -> float:
        """Seconds until the first of the workers that are silent now will have been so for a lease."""
        ages = (monotonic() - since for _, since in self._signs.values())
        return min((self._lasts - age for age in ages if age < self._lasts), default=math.inf)

    def _silent(self) -> list[str]:
        """Look at all rows; the ids of those whose sign of life has been the same for a lease."""
        others = WorkerProcess.objects.using(self.database).filter(supervisor=None).exclude(id=self.worker_id)
        asked_at = monotonic()
        rows = list(others.values_list("id", "seen_at"))
        answered_at = monotonic()
        known = self._signs
        self._signs = {
            id_: known[id_] if id_ in known and known[id_][0] == seen_at else (seen_at, answered_at)
            for id_, seen_at in rows
        }
        if answered_at - asked_at > self._every:
            return []  # the store has stalled: in its answer everybody is silent, this worker too
        if asked_at - self._steady_since < self._lasts or asked_at - self.renewed_at > self._lasts - self._every:
            return []
        return [id_ for id_, (_, since) in self._signs.items() if asked_at - since >= self._lasts]

    def _remove(self, id_: str) -> None:
        """In one transaction, which waits for nobody: a row may be locked by a session that nobody has ended yet.

        What is locked is removed by a later look. Until then its worker's own row stays, by which it is found.
        """
        rows = WorkerProcess.objects.using(self.database)
        with own_transaction(self.database):
            free: dict[str, datetime] = {}
            own, children = rows.filter(id=id_), rows.filter(supervisor_id=id_)
            # One after the other: for an OR MariaDB may merge two indexes, and then waits in spite of SKIP LOCKED.
            for part in (children, own):
                free |= part.select_for_update(skip_locked=True).values_list("id", "seen_at")
            if id_ in free and free[id_] != self._signs[id_][0]:
                return  # it has given one meanwhile
            if children.exclude(id__in=list(free)).exists():
                free.pop(id_, None)
            self._delete(free)
        if free:
            logger.warning("Worker %s has given no sign of life for %g s and counts as lost", id_, self._lasts)

    def _delete(self, ids: Iterable[str]) -> None:
        """One by one: for several MariaDB may walk through all of a small table, and wait for rows of others."""
        for id_ in ids:
            WorkerProcess.objects.using(self.database).filter(id=id_)._raw_delete(self.database)

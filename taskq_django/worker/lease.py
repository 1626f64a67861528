"""The rows that say who is working. A supervisor's row is the lease of its processes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from time import monotonic
from uuid import uuid4

from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone

from ..brokers import own_transaction
from ..models import WorkerProcess

logger = logging.getLogger("taskq_django.worker")


def new_worker_id(name: str) -> str:
    """An incarnation: unique over hosts and restarts, and readable."""
    return f"{name[:80]}/{os.getpid()}-{uuid4().hex[:8]}"


def default_name() -> str:
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


class Lease:
    """Registers one worker and renews its row. One thread owns it."""

    def __init__(self, worker_id: str, name: str, database: str, *, every: float, backends: str, queues: str) -> None:
        self.worker_id = worker_id
        self._name = name
        self._database = database
        self._every = every
        self._described = {"backends": backends[:255], "queues": queues[:1000]}
        self._renew_at = float("-inf")

    def register(self, children: Sequence[tuple[str, int]] = ()) -> None:
        """Write the row of this worker, or those of its new processes (id and pid)."""
        now = timezone.now()
        rows = [(self.worker_id, os.getpid(), None)] if not children else [(i, p, self.worker_id) for i, p in children]
        with own_transaction(self._database):
            WorkerProcess.objects.using(self._database).bulk_create(
                WorkerProcess(
                    id=id_,
                    supervisor_id=supervisor,
                    name=self._name[:100],
                    host=socket.gethostname()[:255],
                    pid=pid,
                    started_at=now,
                    seen_at=now,
                    **self._described,
                )
                for id_, pid, supervisor in rows
            )

    def renew(self) -> None:
        """Say that this worker lives, when it is time to."""
        if monotonic() < self._renew_at:
            return
        self._renew_at = monotonic() + self._every
        try:
            with own_transaction(self._database):
                mine = WorkerProcess.objects.using(self._database).filter(id=self.worker_id)
                seen = mine.update(seen_at=timezone.now())
            if not seen:
                self.register()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The lease could not be renewed: %s", " ".join(str(error).split()))
            connections[self._database].close()

    def forget(self, ids: Sequence[str]) -> None:
        """Remove the rows of processes that have ended, or of this worker."""
        try:
            with own_transaction(self._database):
                WorkerProcess.objects.using(self._database).filter(id__in=list(ids)).delete()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Rows of ended workers stay behind: %s", " ".join(str(error).split()))

"""A worker's leases, one in each database that it claims from, under one id. What it lost in one it has lost in all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

from ..models import Request, WorkerState
from .blackboard import Blackboard
from .fitness import memory_of
from .lease import Lease, new_worker_id

# A loop that was not seen for so long does not turn: it hangs, or a task holds the interpreter.
STILL = 5.0  # seconds


class Leases:
    """Tells the boards of its processes when a lease was renewed. One thread owns it."""

    def __init__(self, name: str, leases: Sequence[Lease]) -> None:
        """``leases``: numbered so on the boards too."""
        self._name = name
        self._leases = leases
        self.worker_id = ""
        self.serving = 0  # how many of its processes can run jobs, as far as was seen
        self._boards: dict[str, Blackboard] = {}  # of the processes that live by these leases, by their ids
        self._pids: dict[str, int] = {}  # theirs
        self._state = WorkerState.SERVING
        for lease in leases:
            lease.vitals = self._vitals

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases)

    def register(self) -> None:
        """Under a new id, and without processes: those that run live by what has ended."""
        self.worker_id = new_worker_id(self._name)
        self._boards, self._pids = {}, {}
        for lease in self._leases:
            lease.register(self.worker_id)

    def enrol(self, pids: Mapping[str, int], boards: Mapping[str, Blackboard]) -> None:
        """Processes that have just been started, by their ids."""
        self._boards |= boards
        self._pids |= pids
        self._hush(self._state)
        for lease in self._leases:
            lease.enrol(pids)
        self._tell()

    def disown(self, id_: str) -> None:
        """This process has ended. Its rows stay until its jobs are rescued."""
        self._boards.pop(id_, None)
        self._pids.pop(id_, None)
        for lease in self._leases:
            lease.disown(id_)

    def renew(self) -> bool:
        """Of each lease, when it is time to. False: others have counted this worker as lost."""
        now = monotonic()
        self.serving = sum(now - board.turned_at < STILL for board in self._boards.values())
        before = [lease.renewed_at for lease in self._leases]
        # Those first that answer: to ask one that is away may take seconds.
        is_held = [lease.renew(self.serving) for lease in sorted(self._leases, key=lambda lease: not lease.is_held)]
        if before != [lease.renewed_at for lease in self._leases]:
            self._tell()
        return all(is_held)

    def heed(self, *, is_stopping: bool) -> bool:
        """Be quiet, or no more, as somebody has asked, and say so; returns whether this worker is asked to stop."""
        asked = {lease.request for lease in self._leases}
        state = WorkerState.QUIET if Request.QUIET in asked else WorkerState.SERVING
        if is_stopping or Request.STOP in asked:
            state = WorkerState.STOPPING
        self._hush(state)
        if state != self._state:
            self._state = state
            for lease in self._leases:
                lease.renew_soon()
            self._tell()
        return Request.STOP in asked

    @property
    def are_quiet(self) -> bool:
        """Was this worker asked to begin nothing more?"""
        return self._state != WorkerState.SERVING

    def _hush(self, state: WorkerState) -> None:
        for board in self._boards.values():
            board.hush(state != WorkerState.SERVING)

    def _vitals(self) -> dict[str, Any]:
        pids = {os.getpid(), *self._pids.values()}
        return {
            "busy": sum(len(board.begun()) for board in self._boards.values()),
            "memory": sum(map(memory_of, pids)) or None,
            "state": self._state,
        }

    def leave(self) -> None:
        """This worker ends."""
        for lease in self._leases:
            lease.leave()

    @property
    def are_held(self) -> bool:
        """Was the last renewal of each answered?"""
        return all(lease.is_held for lease in self._leases)

    def holds(self, database: str) -> bool:
        """Was the last renewal answered there?"""
        return all(lease.is_held for lease in self._leases if lease.database == database)

    def forget(self, database: str, ids: Iterable[str]) -> None:
        """These processes have ended, and of what they held in this database nothing is left."""
        for lease in self._leases:
            if lease.database == database:
                lease.forget(set(ids))
        self._tell()

    def _tell(self) -> None:
        for number, lease in enumerate(self._leases):
            for id_, board in self._boards.items():
                if lease.covers(id_):
                    board.renewed(number, lease.renewed_at)

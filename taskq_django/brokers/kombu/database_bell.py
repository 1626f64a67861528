"""``OPTIONS["bell"]``: a Redis that wakes the workers of a database which cannot.

A hint that is lost costs a job some time and nothing else, for the workers look by themselves as well. So no error of
this Redis is anybody's, and nobody waits a second for it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

from django.db import transaction
from redis.exceptions import RedisError

from ...backoff import wait_after
from ...conf import BackendOptions
from ...exceptions import BrokerError, one_line
from ...jobs import Job
from ...sleeper import Bell
from ...store.dialects.bells import RING_PAUSE, beside_rings
from ..database.broker import DatabaseBroker
from .connection import RedisConnection

logger = logging.getLogger("taskq_django.broker")

WITHIN = 0.5  # seconds for a connection, and for an answer
SILENT = 60.0  # seconds after which a bell asks whether there is somebody at the other end
LONGEST_PAUSE = 15.0  # seconds without a try


class RungDatabaseBroker(DatabaseBroker):
    """Rings after the commit of what it sends; any worker of the same alias, or ``name``, hears it."""

    def __init__(self, alias: str, options: BackendOptions, database: str = "") -> None:
        super().__init__(alias, database)
        self._redis = RedisConnection(options.bell or "", options.transport_options)
        self._channel = f"taskq:{{{options.name or alias}}}:rows"
        self._reach = Reach()

    def send(self, jobs: Sequence[Job], in_store: bool = False, *, sender: str = "") -> datetime:
        moment = super().send(jobs, in_store, sender=sender)
        if any(job.run_after is None and job.delay_us is None for job in jobs):
            transaction.on_commit(self._ring, using=self.database, robust=True)
        return moment

    def reschedule(self, ids: Collection[str], due: datetime | None) -> frozenset[str]:
        moved = super().reschedule(ids, due)
        if moved:
            transaction.on_commit(self._ring, using=self.database, robust=True)
        return moved

    def bells(self) -> list[Bell]:
        return [*super().bells(), RowsBell(self._redis, self._channel)]

    def close(self) -> None:
        super().close()
        self._redis.close()

    def _ring(self) -> None:
        """Once per RING_PAUSE: who was woken looks again for longer than that."""
        if not self._reach.may_try():
            return
        try:
            self._redis.client(WITHIN).publish(self._channel, "")
        except (RedisError, OSError, BrokerError) as error:
            self._reach.failed(self._redis.explain(error))
        else:
            self._reach.succeeded(RING_PAUSE)


class RowsBell(Bell):
    """A SUBSCRIBE on a connection of its own, in the loop's ``select``."""

    def __init__(self, connection: RedisConnection, channel: str) -> None:
        self._redis = connection
        self._channel = channel
        self._reach = Reach()
        self._raw: Any = None
        self._heard_at = 0.0

    @property
    def fd(self) -> int | None:
        sock = getattr(self._raw, "_sock", None)
        return None if sock is None else int(sock.fileno())

    def patience(self, idle: float) -> float:
        return beside_rings(idle)

    def rang(self) -> bool:
        if self._raw is None and not self._reach.may_try():
            return False
        try:
            return self._heard() if self._raw else self._listen()
        except (RedisError, OSError, BrokerError) as error:
            self.close()
            self._reach.failed(self._redis.explain(error))
            return False

    def _listen(self) -> bool:
        self._raw = self._redis.dedicated(WITHIN)
        self._raw.send_command("SUBSCRIBE", self._channel)
        self._heard_at = monotonic()
        self._reach.succeeded(0.0)
        return True  # what came before rang for nobody

    def _heard(self) -> bool:
        heard, now = False, monotonic()
        while self._raw.can_read(0):
            self._raw.read_response()
            heard, self._heard_at = True, now
        if now - self._heard_at > SILENT:
            self._raw.send_command("PING")  # fails, in the end, where nobody is left
            self._heard_at = now
        return heard

    def close(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.disconnect()


class Reach:
    """When a Redis is tried again that has not answered. While one thread tries it, the others do not wait for it."""

    def __init__(self) -> None:
        self._failures = 0
        self._try_at = 0.0  # monotonic; a lost race is one try more

    def may_try(self) -> bool:
        now = monotonic()
        if now < self._try_at:
            return False
        self._try_at = now + 2 * WITHIN
        return True

    def succeeded(self, pause: float) -> None:
        self._failures, self._try_at = 0, monotonic() + pause

    def failed(self, error: BrokerError) -> None:
        self._failures += 1
        pause = wait_after(self._failures, 1.0, LONGEST_PAUSE)
        self._try_at = monotonic() + pause
        logger.debug("No bell for %.0f s: %s", pause, one_line(error))

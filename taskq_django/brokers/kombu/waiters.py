"""How somebody who waits for the end of a job learns of it from Redis."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from redis.exceptions import RedisError

from .connection import RedisConnection

logger = logging.getLogger(__name__)

Tell = Callable[[], object]

LOOK = 1.0  # seconds between two looks of the thread at whether anybody still waits
IDLE = 10.0  # seconds that the subscription is kept when nobody does


class Waiters:
    """One subscription of this process, for all who wait; a thread listens to it while somebody does. Any thread."""

    def __init__(self, connection: RedisConnection, channel: str) -> None:
        self._connection = connection
        self._channel = channel
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._tells: dict[str, set[Tell]] = {}  # by the job's id
        self._subscription: Any = None  # None: nobody listens

    def add(self, id_: str, tell: Tell) -> None:
        """Have it called when this job has ended, or when nobody listens any more. Raises BrokerError."""
        if self._pid != os.getpid():
            self._start_anew()  # the socket is the parent's, and a forked child has no such thread
        with self._lock:
            if self._subscription is None:
                self._subscription = subscription = self._subscribed()
                threading.Thread(target=self._listen, args=(subscription,), name="taskq-waiters", daemon=True).start()
            self._tells.setdefault(id_, set()).add(tell)

    def remove(self, id_: str, tell: Tell) -> None:
        with self._lock:
            tells = self._tells.get(id_, set())
            tells.discard(tell)
            if not tells:
                self._tells.pop(id_, None)

    def _subscribed(self) -> Any:
        subscription = self._connection.client().pubsub()
        try:
            subscription.subscribe(self._channel)
            subscription.parse_response()  # that it is: what ends from now on is heard
        except (RedisError, OSError) as error:
            subscription.close()
            raise self._connection.explain(error) from error
        return subscription

    def _listen(self, subscription: Any) -> None:
        try:
            self._pass_on(subscription)
        except (RedisError, OSError) as error:
            logger.info("%s no longer tells of jobs that end: %s", self._connection.described, error)
        finally:
            left: list[Tell] = []
            with self._lock:
                if self._subscription is subscription:  # else it has ended in peace, and there may be another by now
                    self._subscription = None
                    left = [tell for tells in self._tells.values() for tell in tells]
                    self._tells.clear()
            _call(left)  # they look, and ask again
            with suppress(RedisError, OSError):
                subscription.close()

    def _pass_on(self, subscription: Any) -> None:
        waited_at = monotonic()  # when somebody was last seen who waits
        while True:
            message = subscription.get_message(timeout=LOOK)
            with self._lock:
                if self._tells:
                    waited_at = monotonic()
                elif monotonic() - waited_at > IDLE:
                    self._subscription = None  # whoever comes now begins another
                    return
                ids = message["data"].decode().split() if message and message["type"] == "message" else ()
                told = [tell for id_ in ids for tell in self._tells.get(id_, ())]
            _call(told)


def _call(tells: list[Tell]) -> None:
    for tell in tells:
        with suppress(RuntimeError):  # the event loop of one that waited has been closed
            tell()

"""How a loop that sleeps learns that a message waits in Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any
from uuid import uuid4

from redis.exceptions import RedisError

from ...sleeper import Bell
from .connection import RedisConnection

WAIT = 30  # seconds that the server lets one BLPOP wait; it says so then
SILENT = WAIT + 10.0  # after so many nobody is at the other end of the connection


class RedisBell(Bell):
    """A BLPOP that is outstanding on a connection of its own, which the loop waits for with all else.

    A ring wakes one process. It says for which queues it was; those that were not claimed of, because this process
    does not serve them, ring for the next. One that claims takes its BLPOP back, or it would hear a ring for a sleeper.
    """

    def __init__(self, connection: RedisConnection, prefix: str, pass_on: Callable[[int, Sequence[str]], None]) -> None:
        """``pass_on``: rings for others, where these queues still have messages; how many have done so before."""
        self._connection = connection
        self._keys = (f"{prefix}bell", f"{prefix}wake:{uuid4().hex}")
        self._pass_on = pass_on
        self._raw: Any = None
        self._armed_at: float | None = None  # there is a BLPOP
        self._is_woken = False  # it was taken back, and that was not read yet
        self._ring: tuple[int, list[str]] | None = None  # the last one, until it is passed on

    @property
    def fd(self) -> int | None:
        sock = getattr(self._raw, "_sock", None)
        return None if sock is None or self._armed_at is None or self._is_woken else sock.fileno()

    @property
    def wake_key(self) -> str:
        """What a claim must push to, to take the BLPOP back; "" while there is none."""
        return "" if self._armed_at is None or self._is_woken else self._keys[1]

    def note_woken(self) -> None:
        self._is_woken = self._armed_at is not None

    def patience(self, idle: float) -> float:
        return 1.0

    def rang(self) -> bool:
        try:
            return self._rang()
        except (RedisError, OSError) as error:
            self.close()
            raise self._connection.explain(error) from error

    def _rang(self) -> bool:
        if self._armed_at is not None and self._raw._sock is not None:
            if self._is_woken or self._raw.can_read(0):
                if self._has_read_a_ring():
                    return True  # the loop looks first; it is awake, so the next ring is for others
            elif monotonic() - self._armed_at < SILENT:
                return False
            else:
                self.close()
        if self._ring is not None:
            passed, queues = self._ring
            self._ring = None
            self._pass_on(passed + 1, queues)
        self._arm()
        return True  # what came before rang for nobody

    def _has_read_a_ring(self) -> bool:
        reply = self._raw.read_response()
        self._armed_at, self._is_woken = None, False
        if reply is None or reply[0] != self._keys[0].encode():
            return False  # nothing came, or a claim took the BLPOP back
        passed, *queues = reply[1].decode().split()
        self._ring = int(passed), queues
        return True

    def _arm(self) -> None:
        if self._raw is None:
            self._raw = self._connection.dedicated()
        self._raw.send_command("BLPOP", *self._keys, WAIT)
        self._armed_at = monotonic()

    def close(self) -> None:
        raw, self._raw, self._armed_at, self._is_woken, self._ring = self._raw, None, None, False, None
        if raw is not None:
            raw.disconnect()

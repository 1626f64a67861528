"""The bell of an engine, in a loop that must go on when the engine is away."""

from __future__ import annotations

from contextlib import suppress

from ...exceptions import BrokerError
from ...sleeper import Bell
from .engine import Engine
from .transport import Transport


class EngineBell(Bell):
    """Silent while the engine is away; then a new one is asked for."""

    def __init__(self, transport: Transport, engine: Engine) -> None:
        self._transport = transport
        self._engine = engine
        self._bell: Bell | None = None

    @property
    def fd(self) -> int | None:
        return self._bell.fd if self._bell else None

    def glance(self, idle: float) -> float | None:
        return self._bell.glance(idle) if self._bell else None

    def patience(self, idle: float) -> float:
        return self._bell.patience(idle) if self._bell else 1.0

    def rang(self) -> bool:
        if not self._engine.is_here:
            self.close()
            return False
        rang = False
        with self._engine.guard():
            if self._bell is None:
                self._bell = self._transport.bell()
                rang = True  # what came before it was there rang for nobody
            return self._bell.rang() or rang
        return False

    def close(self) -> None:
        if self._bell is not None:
            with suppress(BrokerError):
                self._bell.close()
            self._bell = None

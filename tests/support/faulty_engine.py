"""An engine that fails where a test wants it to: before a step is made, or after it with an answer that is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.messages import breaker, engine, inheritance
from taskq_django.brokers.messages.broker import MessageBroker
from taskq_django.brokers.messages.memory import MemoryTransport, Message
from taskq_django.exceptions import BrokerUnavailable

When = Literal["before", "after"]


class FaultyTransport(MemoryTransport):
    """``faults``: by the name of a step, how its next call fails."""

    def __init__(self, alias: str = "default") -> None:
        super().__init__(alias)
        self.faults: dict[str, When] = {}

    def memory(self) -> dict[str, Message]:
        """What it has now, for ``remember``."""
        return {id_: replace(message) for id_, message in self._messages.items()}

    def remember(self, then: dict[str, Message]) -> None:
        """It was killed, and has again what it had then: it has forgotten what it has done since."""
        self._messages = then

    def where(self) -> dict[str, str]:
        """By the id of each message, the process that holds it; "": none."""
        return {id_: message.holder for id_, message in self._messages.items()}


def _failing(name: str) -> Callable[..., Any]:
    def step(self: FaultyTransport, *args: Any, **more: Any) -> Any:
        fault = self.faults.pop(name, "")
        if fault == "before":
            raise BrokerUnavailable("The engine is away.", known=True)
        answer = getattr(MemoryTransport, name)(self, *args, **more)
        if fault == "after":
            raise BrokerUnavailable("No answer.")
        return answer

    return step


STEPS = ("publish", "queues", "claim", "ack", "release", "release_unanswered", "join", "workers", "inherit", "find")
for _name in STEPS:
    setattr(FaultyTransport, _name, _failing(_name))


def message_broker(transport: MemoryTransport, *, has_outbox: bool = False) -> MessageBroker:
    """As one more process has it."""
    return MessageBroker("default", DatabaseBroker("default"), transport, has_outbox=has_outbox)


def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that has failed may be asked again at once; the breaker has tests of its own."""
    monkeypatch.setattr(engine, "wait_after", lambda failures: 0.0)
    for module in (engine, inheritance):
        monkeypatch.setattr(module, "TIMES", 0)
    monkeypatch.setattr(breaker.Breaker, "_open", lambda self, error: None)

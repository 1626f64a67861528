"""Commands that are on their way to a Redis when whoever has sent them waits no longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.exceptions import TimeoutError  # noqa: A004

from taskq_django.brokers.kombu import lua
from taskq_django.brokers.kombu.redis import RedisTransport
from taskq_django.exceptions import BrokerUnavailable


@contextmanager
def on_its_way(transport: RedisTransport, script: lua.Script) -> Iterator[list[tuple[Any, ...]]]:
    """What calls this script in the block gets no answer; gives the commands, for a client that lets them arrive."""
    sent: list[tuple[Any, ...]] = []
    client = transport._connection.client()
    client.script_load(script.text)

    class Muted:
        def execute_command(self, *words: Any) -> Any:
            if words[1] != script.digest:
                return client.execute_command(*words)
            sent.append(words)
            raise TimeoutError("Timeout reading from socket")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transport._connection, "client", lambda within: Muted())
        with pytest.raises(BrokerUnavailable) as raised:
            yield sent
    assert not raised.value.known

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from taskq_django.brokers.kombu.connection import RedisConnection
from taskq_django.brokers.kombu.redis import RedisTransport
from tests.support.redis_servers import Redis

STORE = "0198c0de-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def _patient(patient_transports: None) -> None:
    """No test here is about an engine that is only silent."""


@pytest.fixture
def transport_to() -> Iterator[Callable[..., RedisTransport]]:
    """Makes transports, which are closed when the test ends."""
    made: list[RedisTransport] = []

    def make(server: Redis, store: str = STORE, *, url: str = "", name: str = "") -> RedisTransport:
        made.append(RedisTransport("default", RedisConnection(url or server.url), lambda: store, name))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def transport(redis_server: Redis, transport_to: Callable[..., RedisTransport]) -> RedisTransport:
    """One that two processes have joined."""
    transport = transport_to(redis_server)
    for worker in ("me", "other"):
        transport.join(worker)
    return transport

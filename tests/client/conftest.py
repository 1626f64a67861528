from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis_servers import Redis, empty, started_or_skipped


@pytest.fixture(scope="session")
def private_redis() -> Iterator[Redis]:
    """A server that nobody else uses."""
    server = started_or_skipped()
    yield server
    server.remove()


@pytest.fixture
def redis_server(private_redis: Redis) -> Redis:
    """The same, up and empty."""
    private_redis.start()
    empty(private_redis)
    return private_redis

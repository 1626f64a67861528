"""kombu's channels of Redis, whose connections send nothing twice and hear nothing that they have not asked for."""

from __future__ import annotations

from typing import Any

import redis
from kombu.transport import redis as kombu_redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...conf.transport_options import KEPT_BACK

NO_RETRY = {"retry": Retry(NoBackoff(), 0)}
# By the newer protocol a server may tell of its maintenance at any time, and a pool then takes dead connections for
# living ones that have heard something.
OURS = {**NO_RETRY, "retry_on_timeout": False, "health_check_interval": 0, "protocol": 2}
# What kombu's transport and its Connection read of their options; the rest is the channel's.
_PASSED_BY = (
    "polling_interval", "reauth_check_interval", "connect_retries_timeout", "max_retries", "interval_start",
    "interval_step", "interval_max", "errback", "callback",
)  # fmt: skip


class ServerChannel(kombu_redis.Channel):
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        return {**super()._connparams(asynchronous), **OURS}

    def _create_client(self, asynchronous: bool = False) -> redis.Redis:
        # On the one pool: kombu has another for its event loop, which would keep a connection open beside ours.
        return super()._create_client()


class SentinelChannel(kombu_redis.SentinelChannel):
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        return {**super()._connparams(asynchronous), **OURS}

    def _create_client(self, asynchronous: bool = False) -> redis.Redis:
        return super()._create_client()


def known_options() -> list[str]:
    """The ``transport_options`` that kombu knows for any Redis, and that are a project's to choose."""
    return sorted({*SentinelChannel.from_transport_options, *_PASSED_BY}.difference(KEPT_BACK))


class CacheChannel(ServerChannel):
    """On the pool that the option ``own_pool`` is."""

    from_transport_options = (*ServerChannel.from_transport_options, "own_pool")
    own_pool: redis.ConnectionPool

    def _get_pool(self, asynchronous: bool = False) -> redis.ConnectionPool:
        return self.own_pool

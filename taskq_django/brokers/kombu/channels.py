"""kombu's channels of Redis, whose connections send nothing twice and hear nothing that they have not asked for."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as kombu_redis
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

NO_RETRY = {"retry": Retry(NoBackoff(), 0), "retry_on_timeout": False, "health_check_interval": 0}
# By the newer protocol a server may tell of its maintenance at any time, and a pool then takes dead connections for
# living ones that have heard something.
OURS = {**NO_RETRY, "protocol": 2}


class ServerChannel(kombu_redis.Channel):
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        return {**super()._connparams(asynchronous), **OURS}


class SentinelChannel(kombu_redis.SentinelChannel):
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        return {**super()._connparams(asynchronous), **OURS}


class CacheChannel(kombu_redis.Channel):
    """On the pool that the option ``own_pool`` is."""

    from_transport_options = (*kombu_redis.Channel.from_transport_options, "own_pool")
    own_pool: ConnectionPool

    def _get_pool(self, asynchronous: bool = False) -> ConnectionPool:
        return self.own_pool

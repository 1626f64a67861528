"""``cache://ALIAS``: the server of a CACHES alias, with a pool of our own.

A cache forgets, shares its pool by URL only, and may hide errors (IGNORE_EXCEPTIONS). So nothing but its settings is
used: how it connects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.redis import RedisCache
from redis import ConnectionPool
from redis.sentinel import SentinelConnectionPool

from ...exceptions import ConfigurationError

CACHE = "cache://"
# How those settings of a pool's connections begin that the pool itself has put there.
OF_THE_POOL = ("connection_pool", "maint_notifications", "orig_")


def cache_pool(alias: str) -> ConnectionPool:
    """A pool that connects as this cache does. It is for reading only: see ``own_pool``."""
    where = f'CACHES["{alias}"]'
    try:
        cache: Any = caches[alias]
    except InvalidCacheBackendError as error:
        raise ConfigurationError(f"{where} cannot be used for jobs: {error}") from error
    if isinstance(cache, RedisCache):
        return cache._cache.get_client(write=True).connection_pool
    factory = getattr(getattr(cache, "client", None), "connection_factory", None)
    servers = getattr(cache.client, "_server", None) if factory else None
    if factory is None or not servers or hasattr(cache.client, "_ring"):
        raise ConfigurationError(
            f"{where} cannot be used for jobs: it must be django_redis.cache.RedisCache with one server, or "
            "django.core.cache.backends.redis.RedisCache."
        )
    # Not by the client: django-redis gives two aliases of one URL the same pool, whatever else they say.
    return factory.get_connection_pool(factory.make_connection_params(servers[0]))


def own_pool(alias: str, most: int, settings: Mapping[str, Any], of_sentinels: Mapping[str, Any]) -> ConnectionPool:
    """A pool like that of the cache, but with these settings for each connection, and these for those to sentinels."""
    model = cache_pool(alias)
    given = {key: value for key, value in model.connection_kwargs.items() if not key.startswith(OF_THE_POOL)}
    taken = {**given, **settings}
    # A pool that waits for a connection would make a caller wait longer than it wants to.
    if not isinstance(model, SentinelConnectionPool):
        return ConnectionPool(connection_class=model.connection_class, max_connections=most, **taken)
    manager = model.sentinel_manager  # made with the model, so nobody else has it
    for sentinel in manager.sentinels:
        sentinel.connection_pool.connection_kwargs.update(of_sentinels)
    return SentinelConnectionPool(
        model.service_name,
        manager,
        connection_class=model.connection_class,
        max_connections=most,
        check_connection=model.check_connection,
        **taken,
    )

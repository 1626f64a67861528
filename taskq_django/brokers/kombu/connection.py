"""How this process reaches a Redis or Valkey server.

kombu's Connection and channel give what leads there: the address, TLS, sentinels, the master after a failover, and the
pool of connections. Our client runs on that pool with timeouts of ours. It sends no command twice, because the second
would find what the first has done.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import redis
from kombu import Connection
from kombu.transport.redis import Channel
from kombu.utils.url import url_to_parts
from redis.exceptions import RedisError

from ...exceptions import BrokerError
from .caches import CACHE, cache_pool, own_pool
from .channels import NO_RETRY, OURS, CacheChannel, SentinelChannel, ServerChannel
from .errors import explained, is_demoted, was_sent

CONNECT = 1.0  # seconds for a connection to a server
ANSWER = 2.0  # seconds for an answer, where nothing else is said
ASK_SENTINEL = 0.5  # seconds for each step with a sentinel, of which several may be away
MOST = 65_536  # connections of a pool, so that no thread is refused one


class RedisConnection:
    """One per alias and process; any thread may use it. A forked child opens all anew."""

    def __init__(self, url: str, transport_options: Mapping[str, Any] = {}) -> None:
        """``transport_options`` are kombu's. Raises ConfigurationError for a cache that cannot be used."""
        scheme, _, rest = url.partition("://")
        self._url = f"{scheme.lower()}://{rest}"
        self.cache = rest if scheme.lower() == "cache" else ""  # alias in CACHES
        self._transport_options = dict(transport_options)
        self.described, self._secrets = _described(self._url, transport_options)
        self._pid = os.getpid()
        self._channels: dict[float, Channel] = {}  # by the seconds in which an answer is wanted
        self._clients: dict[float, redis.Redis] = {}
        self._dedicated = threading.local()

    def client(self, within: float = ANSWER) -> redis.Redis:
        """Waits so many seconds for each answer, and a second for a connection. What it returns is bytes.

        Raises BrokerUnavailable or BrokerError where the first of this process finds no server.
        """
        self._forget_what_was_inherited()
        client = self._clients.get(within)
        if client is None:
            # Of two threads that race here, both get the same one.
            client = self._clients.setdefault(within, redis.Redis(connection_pool=self.channel(within).pool))
        return client

    def channel(self, within: float = ANSWER) -> Channel:
        """kombu's, with the pool of the client. For one thread at a time, as all of kombu."""
        self._forget_what_was_inherited()
        channel = self._channels.get(within)
        if channel is None:
            try:
                made = self._open(within)
            except (RedisError, OSError) as error:
                raise self._explained(error, sent=False) from error
            channel = self._channels.setdefault(within, made)
            if channel is not made:  # another thread was faster
                made.pool.disconnect()
        return channel

    def dedicated(self, within: float = ANSWER) -> redis.connection.AbstractConnection:
        """A connection of the calling thread's own, for a command that waits; that thread's ``close`` closes it."""
        pool = self.channel(within).pool
        connection: redis.connection.AbstractConnection = pool.connection_class(**pool.connection_kwargs)
        try:
            connection.connect()
        except (RedisError, OSError) as error:
            raise self._explained(error, sent=False) from error
        self._own_connections().add(connection)
        return connection

    def close(self) -> None:
        """Close what no other thread uses at this moment. The next call opens it anew."""
        self._forget_what_was_inherited()
        for channel in list(self._channels.values()):
            manager = getattr(channel.pool, "sentinel_manager", None)
            for pool in [channel.pool, *(each.connection_pool for each in (manager.sentinels if manager else ()))]:
                with suppress(RedisError, OSError):
                    pool.disconnect(inuse_connections=False)
        for connection in list(self._own_connections()):
            with suppress(RedisError, OSError):
                connection.disconnect()

    def explain(self, error: Exception) -> BrokerError:
        """Our error for one of redis. A server that is no longer the master is left: the next call asks who is."""
        if isinstance(error, BrokerError):
            return error
        if is_demoted(error):
            for channel in list(self._channels.values()):
                with suppress(RedisError, OSError):
                    channel.pool.disconnect(inuse_connections=False)
        return self._explained(error, was_sent(error))

    def _explained(self, error: Exception, sent: bool) -> BrokerError:
        return explained(error, self.described, self._secrets, sent)

    def _open(self, within: float) -> Channel:
        """Asks the server whether it is there, once. kombu's own way to connect would try again for seconds."""
        timeouts = {"socket_timeout": within, "socket_connect_timeout": min(CONNECT, within)}
        of_sentinels = {"socket_timeout": ASK_SENTINEL, "socket_connect_timeout": ASK_SENTINEL, **NO_RETRY}
        options = {**self._transport_options, **timeouts, "max_connections": MOST}
        options["sentinel_kwargs"] = {**options.get("sentinel_kwargs", {}), **of_sentinels}
        url, kind = self._url, SentinelChannel if self._url.startswith("sentinel:") else ServerChannel
        if self.cache:
            own = {**timeouts, **OURS, "retry_on_error": [], "decode_responses": False}
            options["own_pool"] = own_pool(self.cache, MOST, own, of_sentinels)
            url, kind = "redis://", CacheChannel
        # Without this, kombu would check no certificate.
        tls = {"ssl_cert_reqs": "required"} if url.startswith("rediss:") else False
        transport = Connection(url, ssl=tls, transport_options=options).transport
        transport.Channel = kind
        return transport.create_channel(transport)

    def _forget_what_was_inherited(self) -> None:
        """By a fork: its sockets are those of the parent."""
        if self._pid != os.getpid():
            self._channels, self._clients, self._dedicated = {}, {}, threading.local()
            self._pid = os.getpid()

    def _own_connections(self) -> WeakSet[redis.connection.AbstractConnection]:
        """The dedicated ones of the calling thread that are still in use."""
        own: WeakSet[redis.connection.AbstractConnection]
        own = self._dedicated.__dict__.setdefault("connections", WeakSet())
        return own


def _described(url: str, transport_options: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """Where the server is, for people, and what no text may show."""
    if url.startswith(CACHE):
        alias = url.removeprefix(CACHE)
        pool = cache_pool(alias)
        given = pool.connection_kwargs
        place = getattr(pool, "service_name", None) or f"{given.get('host', 'localhost')}:{given.get('port', 6379)}"
        where = f"{given.get('path', place)}/{given.get('db') or 0}"
        return f'Redis at {where} (CACHES["{alias}"])', _secrets(given.get("password"))
    servers = [url_to_parts(server.removeprefix("redis+")) for server in url.split(";")]
    first, is_sentinel = servers[0], url.startswith("sentinel:")
    secrets = _secrets(first.password, transport_options.get("sentinel_kwargs", {}).get("password"))
    if first.scheme == "socket":
        return f"Redis at /{first.path}/{first.query.get('virtual_host', 0)}", secrets
    port = 26_379 if is_sentinel else 6_379
    where = ", ".join(f"{server.hostname}:{server.port or port}" for server in servers)
    if is_sentinel:
        where = f"{transport_options.get('master_name')} of the sentinels {where}"
    return f"Redis at {where}/{(first.path or '').strip('/') or 0}", secrets


def _secrets(*passwords: object) -> frozenset[str]:
    return frozenset(password for password in passwords if isinstance(password, str) and password)

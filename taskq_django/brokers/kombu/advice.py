"""What a server of Redis or Valkey must have, and what a project may mend about it. Asked by checks and by workers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import redis
from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from ...conf import BackendOptions
from ...conf.declaration import Problem
from ...exceptions import BrokerError, BrokerUnavailable
from ...store.identity import store_id
from .caches import cache_pool
from .celery_redis import queues_of
from .connection import RedisConnection
from .errors import LACKS_A_RIGHT, RIGHTS

OLDEST = (6, 2)
AWAY = "W014"  # the problem of a server that cannot be reached

# Every command of our scripts, with arguments that change nothing for good. The first is the end of a key's name.
COMMANDS = (
    "SET s 1 PX 1", "GET s", "EXISTS s", "EXPIRE s 1", "DEL s", "HSET h m 1", "HGET h m", "HMGET h m", "HGETALL h",
    "HVALS h", "HKEYS h", "HSTRLEN h m", "HEXISTS h m", "HDEL h m", "LPUSH l m", "RPUSH l m", "LLEN l", "LINDEX l 0",
    "LRANGE l 0 -1", "RPOP l 1", "LPOP l 1", "LTRIM l 1 0", "ZADD z 1 m", "ZRANGE z 0 -1", "ZRANGEBYSCORE z 0 1",
    "ZSCORE z m", "ZREM z m", "SADD t m", "SMEMBERS t", "SISMEMBER t m", "SMISMEMBER t m", "SCARD t", "SREM t m",
    "TIME", "PUBLISH s m",
)  # fmt: skip

_MAY = """
local refused = {}
for n, words in ipairs(cjson.decode(ARGV[1])) do
  local answer = redis.pcall(unpack(words))
  if type(answer) == 'table' and answer.err then refused[#refused + 1] = {n, answer.err} end
end
return refused
"""


def problems(connection: RedisConnection, name: str, store: str, beside_celery: Collection[str] = ()) -> list[Problem]:
    """What is wrong with the server of a broker whose keys begin with ``name``, and is for this store ("": for none).

    ``beside_celery``: the queues that it shares with a Celery app. One W014 stands for a server that cannot be reached:
    whoever needs it asks again.
    """
    try:
        return list(_problems(connection, connection.client(), name, store, beside_celery))
    except (BrokerError, RedisError, OSError) as error:
        ours = connection.explain(error)
    message = str(ours).removeprefix(f"{connection.described} ")
    if isinstance(ours, BrokerUnavailable):
        return [
            Problem(
                connection.described,
                message,
                "Workers start all the same, run the jobs of the database, and try it again.",
                AWAY,
            )
        ]
    return [Problem(connection.described, message, "", "E021")]


def backend_problems(alias: str, options: BackendOptions, database: str) -> list[Problem]:
    """The same, of a backend in TASKS with these options, whose store is in this database."""
    try:
        store = store_id(database)
    except (BrokerError, DatabaseError):  # there are no tables yet
        store = ""
    connection = RedisConnection(options.broker, options.transport_options)
    try:
        shared = sorted(queues_of(alias)) if options.celery_compatible else ()
        found = problems(connection, options.name or alias, store, shared)
    finally:
        connection.close()
    return [replace(problem, where=f'TASKS["{alias}"]: {problem.where}') for problem in found]


def _problems(
    connection: RedisConnection, client: redis.Redis, name: str, store: str, beside_celery: Collection[str]
) -> Iterator[Problem]:
    where, info = connection.described, client.info()
    found = str(info.get("valkey_version") or info.get("redis_version", "0"))
    product = "Valkey" if "valkey_version" in info else "Redis"
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < OLDEST:
        yield Problem(
            where, f"must be at least Redis 6.2 or Valkey 7.2 to hold jobs (it is {product} {found}).", "", "E019"
        )
        return
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys"):
        message = f"has the maxmemory-policy {policy}: when it is full, it removes jobs to make room."
        hint = "Set maxmemory-policy to noeviction, or keep jobs in a server of their own."
        yield Problem(where, message, hint, "E020")
    yield from _shared(connection)
    lacks, rights = _lacking(client, name), RIGHTS
    if beside_celery:
        lacks += _lacking_beside_celery(connection, name, beside_celery)
        rights += " +multi +exec"
        rights += "".join(f" ~{connection.channel().global_keyprefix}{key}*" for key in ("_kombu.", *beside_celery))
    if lacks:
        message = f"does not let its user call {', '.join(lacks)}, which is needed."
        yield Problem(where, message, f"Give it these rights: {rights}.", "E021")
        return
    owner = client.get(f"taskq:{{{name}}}:store")
    if store and owner is not None and owner.decode("utf-8", "replace") != store:
        message = f'has jobs under the name "{name}" that belong to another database.'
        hint = 'Set another OPTIONS["name"]: else the workers of each would run the jobs of both.'
        yield Problem(where, message, hint, "E022")


def _lacking(client: redis.Redis, name: str) -> list[str]:
    """The commands that this user may not call. Found out now, and not in the middle of a job."""
    prefix = _prefix(name)
    commands = [
        (command, *(f"{prefix}{key}" for key in rest[:1]), *rest[1:]) for command, *rest in map(str.split, COMMANDS)
    ]
    lacking = [command for command, *_ in _refused(client, prefix, commands)]
    try:
        client.execute_command("BLPOP", f"{prefix}l", 0.01)  # no script may call it
    except NoPermissionError:
        lacking.append("BLPOP")
    return lacking


def _lacking_beside_celery(connection: RedisConnection, name: str, queues: Collection[str]) -> list[str]:
    """The same for what Celery's lists are read and written by, with the keys, and for how kombu declares a queue."""
    channel, client, prefix = connection.channel(), connection.client(), _prefix(name)
    own = channel.global_keyprefix
    lists = [own + channel._q_for_pri(queue, step) for queue in queues for step in channel.priority_steps]
    bindings = [
        own + key % (queue,)
        for queue in queues
        for key in (channel.keyprefix_queue, channel.keyprefix_binding_permanent)
    ]
    commands = [("LRANGE", key, "1", "0") for key in lists] + [("LTRIM", key, "0", "-1") for key in lists + bindings]
    refused = _refused(client, prefix, commands)
    lacking = list(dict.fromkeys(f"{command} {key.partition(channel.sep)[0]}" for command, key, *_ in refused))
    try:
        client.transaction(lambda pipeline: pipeline.exists(f"{prefix}s"))
    except ResponseError:
        lacking += ["MULTI", "EXEC"]
    return lacking


def _refused(client: redis.Redis, prefix: str, commands: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Those of them that this user may not call from a script."""
    said = client.eval(_MAY, 1, prefix, json.dumps(commands))
    return [commands[n - 1] for n, error in said if LACKS_A_RIGHT.search(error.decode("utf-8", "replace"))]


def _prefix(name: str) -> str:
    """Of keys that are there for these questions only."""
    return f"taskq:{{{name}}}:question:"


def _shared(connection: RedisConnection) -> Iterator[Problem]:
    """Caches in the same database: to clear one is to remove every job."""
    own = _place(connection.client().connection_pool)
    for alias in settings.CACHES:
        if alias == connection.cache and alias != "default":
            continue  # one that was made for this
        place = None
        with suppress(Exception):  # one that is no Redis, or is wrong, which is for Django to say
            place = _place(cache_pool(alias))
        if place == own:
            message = f'has the jobs in the database of CACHES["{alias}"]: cache.clear() would remove them all.'
            yield Problem(connection.described, message, "Give one of them another number of a database.", "W013")


def _place(pool: redis.ConnectionPool) -> tuple[str, int]:
    given = pool.connection_kwargs
    host = str(given.get("host", "localhost")).replace("localhost", "127.0.0.1")
    server = getattr(pool, "service_name", "") or given.get("path") or f"{host}:{given.get('port', 6379)}"
    return server, int(given.get("db") or 0)

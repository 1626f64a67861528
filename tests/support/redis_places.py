"""Where each job of a Redis is: read from its keys, past the transport."""

from __future__ import annotations

from collections import Counter

import redis


def places(client: redis.Redis, name: str = "default") -> Counter[str]:
    """In how many places each id is: a list, or what a process holds."""
    found: Counter[str] = Counter()
    for key in client.scan_iter(match=f"taskq:{{{name}}}:q:*", count=1000):
        found.update(id_.decode() for id_ in client.lrange(key, 0, -1))
    for key in client.scan_iter(match=f"taskq:{{{name}}}:h:*", count=1000):
        found.update(id_.decode() for id_ in client.hkeys(key))
    return found


def bodies(client: redis.Redis, name: str = "default") -> set[str]:
    return {id_.decode() for id_ in client.hkeys(f"taskq:{{{name}}}:jobs")}


def assert_whole(client: redis.Redis, name: str = "default") -> set[str]:
    """Every id is in one place and has a body, and what says where messages wait is true; returns the ids."""
    found = places(client, name)
    assert [id_ for id_, count in found.items() if count > 1] == []
    assert set(found) == bodies(client, name)
    prefix = f"taskq:{{{name}}}:"
    lists = {key.decode().removeprefix(f"{prefix}q:") for key in client.keys(f"{prefix}q:*")}
    ranks = {
        f"{key.decode().removeprefix(f'{prefix}ranks:')}:{rank.decode()}"
        for key in client.keys(f"{prefix}ranks:*")
        for rank in client.zrange(key, 0, -1)
    }
    assert ranks == lists
    assert {name.decode() for name in client.smembers(f"{prefix}queues")} == {each.rpartition(":")[0] for each in lists}
    return set(found)

"""Where each job of a Redis is: read from its keys, past the transport."""

from __future__ import annotations

from collections import Counter
from typing import Any

import redis

# In one step, because a job that is claimed meanwhile would be seen in both.
PLACES = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. 'q:*')) do
  for _, id in ipairs(redis.call('LRANGE', key, 0, -1)) do found[#found + 1] = id end
end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. 'h:*')) do
  for _, id in ipairs(redis.call('HKEYS', key)) do found[#found + 1] = id end
end
return found"""


def places(client: redis.Redis, name: str = "default") -> Counter[str]:
    """In how many places each id is: a list, or what a process holds."""
    found: Any = client.eval(PLACES, 0, f"taskq:{{{name}}}:")
    return Counter(id_.decode() for id_ in found)


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

"""What ends messages in Redis and Valkey, and who is told. The keys are explained in lua.py."""

from __future__ import annotations

from .lua import MOST, script

# A hint: who waits looks once a second anyway. Costs one command where nobody waits.
_TELL = """
local function tell(ids)
  if redis.call('EXISTS', p .. 'waited') == 0 then return end
  local told = {}
  for i, is_waited in ipairs(redis.pcall('SMISMEMBER', p .. 'waited', unpack(ids))) do
    if is_waited == 1 then told[#told + 1] = ids[i] end
  end
  if #told > 0 then
    redis.pcall('SREM', p .. 'waited', unpack(told))
    redis.pcall('PUBLISH', p .. 'ended', table.concat(told, ' '))
  end
end
"""

# ARGV: store, worker, ids. Returns those that the worker does not hold.
ACK = script(
    _TELL,
    """
local mine, ids, done, lost = p .. 'h:' .. ARGV[2], {unpack(ARGV, 3)}, {}, {}
local held = redis.call('HMGET', mine, unpack(ids))
for i, id in ipairs(ids) do
  if held[i] then done[#done + 1] = id else lost[#lost + 1] = id end
end
if #done > 0 then
  redis.call('HDEL', p .. 'jobs', unpack(done))
  redis.call('HDEL', mine, unpack(done))
  tell(done)
end
return lost
""",
)

# ARGV: store, queue. Returns how many were removed; fewer than MOST: nothing is left.
PURGE = script(
    _TELL,
    f"""
local ranks, left, count = p .. 'ranks:' .. ARGV[2], {MOST}, 0
for _, rank in ipairs(redis.call('ZRANGE', ranks, 0, -1)) do
  local list = p .. 'q:' .. ARGV[2] .. ':' .. rank
  local ids = redis.call('LRANGE', list, -left, -1)
  if #ids > 0 then
    redis.call('HDEL', p .. 'jobs', unpack(ids))
    redis.call('LTRIM', list, 0, -#ids - 1)
    tell(ids)
    left, count = left - #ids, count + #ids
  end
  if redis.call('EXISTS', list) == 0 then redis.call('ZREM', ranks, rank) end
  if left == 0 then break end
end
if redis.call('EXISTS', ranks) == 0 then redis.call('SREM', p .. 'queues', ARGV[2]) end
return count
""",
)

# ARGV: store, id, for how many seconds. Returns 1 where the message is there: then its end will be told of.
WATCH = script("""
redis.pcall('SADD', p .. 'waited', ARGV[2])
redis.pcall('EXPIRE', p .. 'waited', ARGV[3])
return redis.call('HEXISTS', p .. 'jobs', ARGV[2])
""")

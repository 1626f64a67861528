"""What is asked of Redis and Valkey, and changes nothing. The keys are explained in lua.py."""

from __future__ import annotations

from .lua import CLOCK, script

WORKERS = script("return redis.call('SMEMBERS', p .. 'workers')")

QUEUES = script("return redis.call('SMEMBERS', p .. 'queues')")

# ARGV: store, ids. Returns of each that is there: id, what `jobs` has, its holder and the holder's entry, or "" twice.
FIND = script("""
local ids, answer, holders = {unpack(ARGV, 2)}, {}, {}
local found = redis.call('HMGET', p .. 'jobs', unpack(ids))
for _, worker in ipairs(redis.call('SMEMBERS', p .. 'workers')) do
  for i, held in ipairs(redis.call('HMGET', p .. 'h:' .. worker, unpack(ids))) do
    if held then holders[i] = {worker, held} end
  end
end
for i, id in ipairs(ids) do
  if found[i] then
    local holder = holders[i] or {'', ''}
    for _, each in ipairs({id, found[i], holder[1], holder[2]}) do answer[#answer + 1] = each end
  end
end
return answer
""")

# Returns the time, and of each queue: name, how many wait, the time of the oldest.
DEPTH = script(
    CLOCK,
    """
local answer = {clock()}
for _, queue in ipairs(redis.call('SMEMBERS', p .. 'queues')) do
  local count, oldest = 0, nil
  for _, rank in ipairs(redis.call('ZRANGE', p .. 'ranks:' .. queue, 0, -1)) do
    local list = p .. 'q:' .. queue .. ':' .. rank
    count = count + redis.call('LLEN', list)
    local front = redis.call('LINDEX', list, -1)
    local published = front and string.match(redis.call('HGET', p .. 'jobs', front) or '', '^[%d.]+')
    if tonumber(published) and (not oldest or tonumber(published) < tonumber(oldest)) then oldest = published end
  end
  for _, each in ipairs({queue, count, oldest or ''}) do answer[#answer + 1] = each end
end
return answer
""",
)

# ARGV: store, worker. Returns of each queue: name, how many of it the worker holds.
HELD = script("""
local counts, answer = {}, {}
for _, held in ipairs(redis.call('HVALS', p .. 'h:' .. ARGV[2])) do
  local queue = string.match(held, '^%S+ %S+ %S+ (.*)$') or ''
  counts[queue] = (counts[queue] or 0) + 1
end
for queue, count in pairs(counts) do
  answer[#answer + 1] = queue
  answer[#answer + 1] = count
end
return answer
""")

# ARGV: store, worker, limit. Returns ids of what the worker holds. One holds some thousand at most.
HELD_BY = script("""
local ids = redis.call('HKEYS', p .. 'h:' .. ARGV[2])
return {unpack(ids, 1, math.min(#ids, tonumber(ARGV[3])))}
""")

# ARGV: store, queue, limit, the most bytes. Returns of each message its id and what `jobs` has of it.
PEEK = script("""
local left, weight, answer = tonumber(ARGV[3]), 0, {}
for _, rank in ipairs(redis.call('ZRANGE', p .. 'ranks:' .. ARGV[2], 0, -1)) do
  local ids = redis.call('LRANGE', p .. 'q:' .. ARGV[2] .. ':' .. rank, -left, -1)
  for i = #ids, 1, -1 do
    if left == 0 or weight >= tonumber(ARGV[4]) then return answer end
    local body = redis.call('HGET', p .. 'jobs', ids[i])
    if body then
      answer[#answer + 1] = ids[i]
      answer[#answer + 1] = body
      left, weight = left - 1, weight + #body
    end
  end
  if left == 0 then break end
end
return answer
""")

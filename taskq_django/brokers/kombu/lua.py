"""Every step in Redis and Valkey, as a script: the server runs one whole, and nothing else meanwhile.

Keys, all of which begin with ``taskq:{NAME}:``. The braces keep them on one node of a cluster.

    store           string  the UUID of the store that the name belongs to
    q:QUEUE:RANK    list    ids that wait; the right end is the front. Rank: the priority with the other sign
    ranks:QUEUE     zset    the ranks of QUEUE whose lists are not empty
    queues          set     the queues in which a message waits
    jobs            hash    id -> "<seconds when published> <body>"
    h:WORKER        hash    id -> "<seconds when claimed> <rank> <whose> <queue>"; whose: the worker's own claim, or
                            inherited from this one
    workers         set     who may claim
    bell            list    at most one ring: "<how many have passed it on> <queue> …"
    wake:BELL       list    wakes the loop of one bell, because it has claimed
    waited          set     ids whose end somebody waits for; it is forgotten where nobody asks again
    ended           channel tells of those that have ended: their ids

A script is not rolled back. So what can fail comes first, and ``pcall`` undoes where that is not enough. A server that
is full refuses what adds to it, unless the script has written before.
"""

from __future__ import annotations

from hashlib import sha1
from typing import NamedTuple

OTHER_STORE, NOT_JOINED = "TASKQ-STORE", "TASKQ-NOTJOINED"  # how our own errors begin
MOST = 1000  # ids of one call: Lua's unpack() takes some 8,000 values


class Script(NamedTuple):
    text: str
    digest: str  # what the server knows it by


def script(*parts: str) -> Script:
    text = "\n".join((_STORE, *parts))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


_STORE = f"""
local p = KEYS[1]
local store = redis.call('GET', p .. 'store')
if not store then
  local set = redis.pcall('SET', p .. 'store', ARGV[1])
  if set.err then return set end
elseif store ~= ARGV[1] then
  return redis.error_reply('{OTHER_STORE} ' .. store)
end
local function word(worker) return (string.gsub(worker, '%s', '_')) end  -- as entries have it: its name may have spaces
"""

# Wakes who has slept longest. A hint, so what is wrong with it costs nobody a message.
RING = """
local function ring(passed, names)
  if redis.pcall('LLEN', p .. 'bell') == 0 then redis.pcall('LPUSH', p .. 'bell', passed .. ' ' .. names) end
end
"""

CLOCK = """
local function clock()
  local now = redis.call('TIME')
  return string.format('%d.%06d', now[1], now[2])
end
"""

# Ids that are held go to the front of their queues, in their order; returns those that were held.
_PUT_BACK = """
local function put_back(mine, ids)
  redis.call('HDEL', mine, '')
  local put, names, rung = {}, {}, {}
  for i = #ids, 1, -1 do
    local held = redis.call('HGET', mine, ids[i])
    if held then
      local rank, queue = string.match(held, '^%S+ (%S+) %S+ (.*)$')
      redis.call('RPUSH', p .. 'q:' .. queue .. ':' .. rank, ids[i])
      redis.call('ZADD', p .. 'ranks:' .. queue, rank, rank)
      redis.call('SADD', p .. 'queues', queue)
      redis.call('HDEL', mine, ids[i])
      put[#put + 1] = ids[i]
      if not rung[queue] then rung[queue] = true; names[#names + 1] = queue end
    end
  end
  if #put > 0 then ring(0, table.concat(names, ' ')) end
  return put
end
"""

# ARGV: store, and of each list: queue, rank, count, and so many times an id and a body. Returns the time.
PUBLISH = script(
    RING,
    """
local now, jobs = redis.call('TIME'), p .. 'jobs'
local stamp = string.format('%d.%06d ', now[1], now[2])
local entries, pushed, names, seen, at = {}, {}, {}, {}, 2
local function put()
  while at <= #ARGV do
    local queue, rank, last, ids, fresh = ARGV[at], ARGV[at + 1], at + 1 + 2 * ARGV[at + 2], {}, {}
    for i = at + 3, last, 2 do ids[#ids + 1] = ARGV[i] end
    local there = redis.call('HMGET', jobs, unpack(ids))
    for i, id in ipairs(ids) do
      if not there[i] and not seen[id] then
        seen[id] = true
        fresh[#fresh + 1] = id
        entries[#entries + 1] = id
        entries[#entries + 1] = stamp .. ARGV[at + 2 + 2 * i]
      end
    end
    if #fresh > 0 then
      local list = p .. 'q:' .. queue .. ':' .. rank
      local length = redis.call('LPUSH', list, unpack(fresh))
      pushed[#pushed + 1] = {list, #fresh}
      if length == #fresh then
        redis.call('ZADD', p .. 'ranks:' .. queue, rank, rank)
        redis.call('SADD', p .. 'queues', queue)
      end
      if not seen[queue] then seen[queue] = true; names[#names + 1] = queue end
    end
    at = last + 2
  end
  if #entries > 0 then redis.call('HSET', jobs, unpack(entries)) end
end
local done, problem = pcall(put)
if not done then
  for _, each in ipairs(pushed) do redis.call('LTRIM', each[1], each[2], -1) end
  return type(problem) == 'table' and problem or redis.error_reply(problem)
end
if #names > 0 then ring(0, table.concat(names, ' ')) end
return now
""",
)

# ARGV: store, worker, queue, limit, the most bytes, the key that wakes the claimer's bell or "".
# Returns the time; of each message the lengths of its id and of what `jobs` has of it, four bytes each; and all these
# in one text, because to read a text for each takes a client in Python a fifth of its time.
CLAIM = script(
    RING,
    CLOCK,
    f"""
local worker, queue, left, most, wake = ARGV[2], ARGV[3], math.min(ARGV[4], {MOST}), tonumber(ARGV[5]), ARGV[6]
if redis.call('SISMEMBER', p .. 'workers', worker) == 0 then return redis.error_reply('{NOT_JOINED} ' .. worker) end
local jobs, ranks, now = p .. 'jobs', p .. 'ranks:' .. queue, clock()
local taken, entries, lengths, texts, weight = {{}}, {{}}, {{}}, {{}}, 0
local function push_back(list, ids, first)
  for i = #ids, first, -1 do
    redis.call('RPUSH', list, ids[i])
    ids[i] = nil
  end
end
local function take()
  for _, rank in ipairs(redis.call('ZRANGE', ranks, 0, -1)) do
    local list = p .. 'q:' .. queue .. ':' .. rank
    local ids = redis.call('RPOP', list, left)
    if ids then
      taken[#taken + 1] = {{list, rank, ids}}
      local count = 0
      while count < #ids and weight < most do
        count = count + 1
        weight = weight + redis.call('HSTRLEN', jobs, ids[count])
      end
      push_back(list, ids, count + 1)
      local found = redis.call('HMGET', jobs, unpack(ids))
      local entry = table.concat({{now, rank, word(worker), queue}}, ' ')
      for i, id in ipairs(ids) do
        if found[i] then
          entries[#entries + 1] = id
          entries[#entries + 1] = entry
          texts[#texts + 1] = id
          texts[#texts + 1] = found[i]
          lengths[#lengths + 1] = #id
          lengths[#lengths + 1] = #found[i]
          left = left - 1
        end
      end
    end
    if redis.call('EXISTS', list) == 0 then redis.call('ZREM', ranks, rank) end
    if left == 0 or weight >= most then break end
  end
  if #entries > 0 then redis.call('HSET', p .. 'h:' .. worker, unpack(entries)) end
end
local done, problem = pcall(take)
if not done then
  for _, each in ipairs(taken) do
    push_back(each[1], each[3], 1)
    redis.call('ZADD', ranks, each[2], each[2])
  end
  return type(problem) == 'table' and problem or redis.error_reply(problem)
end
local more = redis.call('EXISTS', ranks) == 1
if not more then redis.call('SREM', p .. 'queues', queue) end
if #entries > 0 then
  if wake ~= '' then  -- first, or this process would be the one that is rung for
    redis.pcall('LPUSH', wake, '')
    redis.pcall('EXPIRE', wake, 60)
  end
  if more then ring(0, queue) end
end
return {{now, struct.pack('>' .. string.rep('I4', #lengths), unpack(lengths)), table.concat(texts)}}
""",
)

# ARGV: store, worker, ids. Returns those that the worker held.
RELEASE = script(RING, _PUT_BACK, "return put_back(p .. 'h:' .. ARGV[2], {unpack(ARGV, 3)})")

# ARGV: store, worker, the ids that it knows to hold. Returns how many went back.
RELEASE_UNANSWERED = script(
    RING,
    _PUT_BACK,
    """
local mine, me, known, unknown = p .. 'h:' .. ARGV[2], word(ARGV[2]), {}, {}
for i = 3, #ARGV do known[ARGV[i]] = true end
local all = redis.call('HGETALL', mine)
for i = 1, #all, 2 do
  if not known[all[i]] and string.match(all[i + 1], '^%S+ %S+ (%S+)') == me then unknown[#unknown + 1] = all[i] end
end
table.sort(unknown)  -- ids begin with their time
return #put_back(mine, unknown)
""",
)

# ARGV: store, worker.
JOIN = script("""
redis.call('SREM', p .. 'workers', ARGV[2])
redis.call('SADD', p .. 'workers', ARGV[2])
""")

# ARGV: store, the dead one, the heir. Returns the time, and of each message its id, the entry and what `jobs` has.
INHERIT = script(
    CLOCK,
    f"""
local dead, heir, answer, ids = p .. 'h:' .. ARGV[2], p .. 'h:' .. ARGV[3], {{clock()}}, {{}}
if ARGV[2] ~= ARGV[3] then
  redis.call('HDEL', dead, '')
  local all = redis.call('HGETALL', dead)
  for i = 2, #all, 2 do
    -- Also what the dead one had inherited itself: nobody asks for those before it any more.
    local place, queue = string.match(all[i], '^(%S+ %S+ )%S+(.*)$')
    if place then all[i] = place .. word(ARGV[2]) .. queue end
  end
  for i = 1, #all, {MOST} do redis.call('HSET', heir, unpack(all, i, math.min(i + {MOST - 1}, #all))) end
  redis.call('SADD', p .. 'workers', ARGV[3])
  redis.call('DEL', dead)
  redis.call('SREM', p .. 'workers', ARGV[2])
end
local held = redis.call('HGETALL', heir)
for i = 1, #held, 2 do
  if string.match(held[i + 1], '^%S+ %S+ (%S+)') == word(ARGV[2]) then
    local body = redis.call('HGET', p .. 'jobs', held[i])
    if body then
      answer[#answer + 1] = held[i]
      answer[#answer + 1] = held[i + 1]
      answer[#answer + 1] = body
    else
      redis.call('HDEL', heir, held[i])
    end
  end
end
return answer
""",
)

# ARGV: store, how many have passed it on, queues.
PASS_ON = script(
    RING,
    """
if tonumber(ARGV[2]) < redis.call('SCARD', p .. 'workers') then ring(ARGV[2], table.concat(ARGV, ' ', 3)) end
""",
)

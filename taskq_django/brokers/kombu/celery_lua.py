"""The steps in Redis that know where kombu lays messages; what is held is held as lua.py says, by the same keys.

    <prefix>QUEUE                 list    envelopes that wait, of priority 0; the right end is the front
    <prefix>QUEUE<sep>STEP        list    those of the priorities from STEP on; the lower goes first
    taskq:{NAME}:queues           set     the queues in which we have laid what is for our workers
    taskq:{NAME}:sent             zset    ids that we have published and not claimed since, by the time, for an hour
    taskq:{NAME}:told             hash    of those the id -> "<step> <queue>\\n<envelope>", unless that is long

A held envelope is in ``jobs``, and its STEP is the rank. Celery's own keys for what it holds (``unacked``) are never
touched. An envelope may be by any hand, so that it has no id that can be relied on: see ``NAME``.
"""

from __future__ import annotations

from .lua import CLOCK, MOST, NOT_JOINED, RING, script

# Seconds. Who published and got no answer asks sooner; and a worker of Celery does not say what it has taken.
REMEMBERED = 3600
LONGEST_TOLD = 8192  # bytes: it is there twice while it waits

# An envelope is held by the id of its job where that is a UUID and nobody holds it, else by what its bytes come to.
# So no message takes the place of another one. ``largest``: a longer one is not looked into.
NAME = """
local hex = ('%x'):rep(4)
local uuid = '^' .. hex .. hex .. ('%-' .. hex):rep(2) .. '%-[89abAB]' .. ('%x'):rep(3) .. '%-' .. hex:rep(3) .. '$'
local function headers_of(text, largest)
  local read, found = pcall(cjson.decode, #text <= largest and text or '')
  local headers = read and type(found) == 'table' and found['headers']
  return type(headers) == 'table' and headers or {}
end
local function own_id(headers)
  local id = headers['id']
  return type(id) == 'string' and string.match(id, uuid) and string.lower(id)
end
local function digest(text, largest)
  local sum = redis.sha1hex(#text <= largest and text or #text .. string.sub(text, 1, largest))
  -- Version 8 of RFC 9562, because MariaDB does not take all that look like a UUID.
  return (string.gsub(string.sub(sum, 1, 30), '^(........)(....)(...)(...)', '%1-%2-8%3-8%4-'))
end
"""

_LIST = """
local function list_of(prefix, sep, queue, step)
  return prefix .. queue .. (step == '0' and '' or sep .. step)
end
"""

# What we have laid into a list, by its id, until it is claimed.
_REMEMBER = f"""
local function remember(id, step, queue, text, now)
  redis.call('ZADD', p .. 'sent', now, id)
  if #text <= {LONGEST_TOLD} then redis.call('HSET', p .. 'told', id, step .. ' ' .. queue .. '\\n' .. text) end
end
local function forget(ids)
  redis.call('ZREM', p .. 'sent', unpack(ids))
  redis.call('HDEL', p .. 'told', unpack(ids))
end
"""

# ARGV: store, how many queues are to be looked at by us, their names, and of each message: id, step, queue, list,
# envelope. What is there is passed over.
PUBLISH = script(
    RING,
    _REMEMBER,
    f"""
local names, seen, pushed, now, sent = {{}}, {{}}, {{}}, redis.call('TIME')[1], p .. 'sent'
local function put()
  local old = redis.call('ZRANGEBYSCORE', sent, '-inf', now - {REMEMBERED}, 'LIMIT', 0, {MOST})
  if #old > 0 then forget(old) end
  for i = 3, 2 + ARGV[2] do redis.call('SADD', p .. 'queues', ARGV[i]) end
  for i = 3 + ARGV[2], #ARGV, 5 do
    local id, queue, list = ARGV[i], ARGV[i + 2], ARGV[i + 3]
    if not redis.call('ZSCORE', sent, id) and redis.call('HEXISTS', p .. 'jobs', id) == 0 then
      redis.call('LPUSH', list, ARGV[i + 4])
      pushed[#pushed + 1] = {{id, list}}
      remember(id, ARGV[i + 1], queue, ARGV[i + 4], now)
      if not seen[queue] then seen[queue] = true; names[#names + 1] = queue end
    end
  end
end
local done, problem = pcall(put)
if not done then
  for _, each in ipairs(pushed) do
    redis.call('LPOP', each[2])
    forget({{each[1]}})
  end
  return type(problem) == 'table' and problem or redis.error_reply(problem)
end
if #pushed > 0 then ring(0, table.concat(names, ' ')) end
""",
)

# ARGV: store, queue, limit, the most bytes, the longest that is looked into, the worker, its bell ('' for none), and
# of each list of the queue, the first first: its name and its step. Returns the time, and of each envelope: id, step,
# bytes, and the envelope (of a longer one its beginning).
CLAIM = script(
    RING,
    CLOCK,
    NAME,
    _REMEMBER,
    f"""
local queue, left, most, largest = ARGV[2], math.min(ARGV[3], {MOST}), tonumber(ARGV[4]), tonumber(ARGV[5])
local worker, wake, jobs, now = ARGV[6], ARGV[7], p .. 'jobs', clock()
if redis.call('SISMEMBER', p .. 'workers', worker) == 0 then return redis.error_reply('{NOT_JOINED} ' .. worker) end
local taken, ids, bodies, entries, answer, seen, weight = {{}}, {{}}, {{}}, {{}}, {{now}}, {{}}, 0
local left_to_others = {{}}
local function push_back(list, texts, first)
  for i = #texts, first, -1 do
    redis.call('RPUSH', list, texts[i])
    texts[i] = nil
  end
end
local function is_for_others(headers)
  local ours = headers['taskq']
  return type(ours) == 'table' and ours['others'] == true
end
local function is_held(id) return seen[id] or redis.call('HEXISTS', jobs, id) == 1 end
local function keep(text, step, list)
  local headers = headers_of(text, largest)
  if is_for_others(headers) then  -- behind all that wait, or it would stand in the way of what is for us
    redis.call('LPUSH', list, text)
    left_to_others[#left_to_others + 1] = list
    return
  end
  local id = own_id(headers)
  if not id or is_held(id) then id = digest(text, largest) end
  if is_held(id) then return end  -- the same bytes, down to their delivery_tag
  seen[id] = true
  ids[#ids + 1] = id
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = now .. ' ' .. text
  entries[#entries + 1] = id
  entries[#entries + 1] = now .. ' ' .. step .. ' ' .. word(worker) .. ' ' .. queue
  answer[#answer + 1] = id
  answer[#answer + 1] = step
  answer[#answer + 1] = #text
  answer[#answer + 1] = #text > largest and string.sub(text, 1, 4096) or text
end
local function take()
  for i = 8, #ARGV, 2 do
    local texts = redis.call('RPOP', ARGV[i], left)
    if texts then
      taken[#taken + 1] = {{ARGV[i], texts}}
      local count = 0
      while count < #texts and weight < most do
        count = count + 1
        weight = weight + #texts[count]
      end
      push_back(ARGV[i], texts, count + 1)
      for _, text in ipairs(texts) do keep(text, ARGV[i + 1], ARGV[i]) end
      left = left - count
    end
    if left == 0 or weight >= most then break end
  end
  if #entries > 0 then
    redis.call('HSET', jobs, unpack(bodies))
    redis.call('HSET', p .. 'h:' .. worker, unpack(entries))
    forget(ids)
  end
end
local done, problem = pcall(take)
if not done then
  for _, id in ipairs(ids) do redis.pcall('HDEL', jobs, id) end
  for _, list in ipairs(left_to_others) do redis.call('LPOP', list) end
  for _, each in ipairs(taken) do push_back(each[1], each[2], 1) end
  return type(problem) == 'table' and problem or redis.error_reply(problem)
end
if #entries > 0 then
  if wake ~= '' then
    redis.pcall('LPUSH', wake, '')
    redis.pcall('EXPIRE', wake, 60)
  end
  for i = 8, #ARGV, 2 do
    if redis.call('EXISTS', ARGV[i]) == 1 then
      ring(0, queue)
      break
    end
  end
end
return answer
""",
)

# Ids that are held go to the front of their lists, in their order; returns those that were held.
_PUT_BACK = """
local function put_back(mine, ids, prefix, sep)
  redis.call('HDEL', mine, '')  -- a server that is full takes the rest after a write
  local put, names, rung = {}, {}, {}
  for i = #ids, 1, -1 do
    local held, stored = redis.call('HGET', mine, ids[i]), redis.call('HGET', p .. 'jobs', ids[i])
    if held then
      local step, queue = string.match(held, '^%S+ (%S+) %S+ (.*)$')
      if stored then
        local text = string.gsub(stored, '^%S+ ', '', 1)
        redis.call('RPUSH', list_of(prefix, sep, queue, step), text)
        remember(ids[i], step, queue, text, redis.call('TIME')[1])
      end
      redis.call('HDEL', p .. 'jobs', ids[i])
      redis.call('HDEL', mine, ids[i])
      put[#put + 1] = ids[i]
      if not rung[queue] then rung[queue] = true; names[#names + 1] = queue end
    end
  end
  if #put > 0 then ring(0, table.concat(names, ' ')) end
  return put
end
"""

# ARGV: store, prefix, sep, worker, ids. Returns those that the worker held.
RELEASE = script(
    RING, _LIST, _REMEMBER, _PUT_BACK, "return put_back(p .. 'h:' .. ARGV[4], {unpack(ARGV, 5)}, ARGV[2], ARGV[3])"
)

# ARGV: store, prefix, sep, worker, the ids that it knows to hold. Returns how many went back.
RELEASE_UNANSWERED = script(
    RING,
    _LIST,
    _REMEMBER,
    _PUT_BACK,
    """
local mine, known, unknown = p .. 'h:' .. ARGV[4], {}, {}
for i = 5, #ARGV do known[ARGV[i]] = true end
local all = redis.call('HGETALL', mine)
for i = 1, #all, 2 do
  local whose = string.match(all[i + 1], '^%S+ %S+ (%S+)')
  if not known[all[i]] and whose == word(ARGV[4]) then unknown[#unknown + 1] = all[i] end
end
return #put_back(mine, unknown, ARGV[2], ARGV[3])
""",
)

# ARGV: store, the longest that is looked into, names of lists. Returns how many envelopes were removed; fewer than
# MOST: nothing is left.
PURGE = script(
    NAME,
    _REMEMBER,
    f"""
local left, largest, count = {MOST}, tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  local texts, ids = redis.call('LRANGE', ARGV[i], -left, -1), {{}}
  if #texts > 0 then
    redis.call('LTRIM', ARGV[i], 0, -#texts - 1)
    for n, text in ipairs(texts) do ids[n] = own_id(headers_of(text, largest)) or '' end
    forget(ids)
    left, count = left - #texts, count + #texts
  end
  if left == 0 then break end
end
return count
""",
)

"""What is asked of the lists of a Celery app in Redis, and changes nothing. The keys are explained in celery_lua.py."""

from __future__ import annotations

from .celery_lua import NAME
from .lua import CLOCK, script

TIME = script(CLOCK, "return clock()")

# ARGV: store, ids. Returns those that are held, and those that we have published and not claimed since.
KNOWN = script("""
local known = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', p .. 'sent', ARGV[i]) or redis.call('HEXISTS', p .. 'jobs', ARGV[i]) == 1 then
    known[#known + 1] = ARGV[i]
  end
end
return known
""")

# ARGV: store, ids. Returns the time, and of each in `told`: id, and what it says.
TOLD = script(
    CLOCK,
    """
local ids, answer = {unpack(ARGV, 2)}, {clock()}
for i, told in ipairs(redis.call('HMGET', p .. 'told', unpack(ids))) do
  if told then
    answer[#answer + 1] = ids[i]
    answer[#answer + 1] = told
  end
end
return answer
""",
)

# ARGV: store, names of lists. Returns how many envelopes each has.
LENGTHS = script("""
local answer = {}
for i = 2, #ARGV do answer[i - 1] = redis.call('LLEN', ARGV[i]) end
return answer
""")

# ARGV: store, limit, the most bytes, the longest that is looked into; name and step of each list, the first first.
# Returns the time, and what CLAIM would.
PEEK = script(
    CLOCK,
    NAME,
    """
local left, most, largest, answer = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), {clock()}
for i = 5, #ARGV, 2 do
  local texts = redis.call('LRANGE', ARGV[i], -left, -1)
  for n = #texts, 1, -1 do
    local text = texts[n]
    answer[#answer + 1] = own_id(headers_of(text, largest)) or digest(text, largest)
    answer[#answer + 1] = ARGV[i + 1]
    answer[#answer + 1] = #text
    answer[#answer + 1] = #text > largest and string.sub(text, 1, 4096) or text
    left, most = left - 1, most - #text
    if left == 0 or most <= 0 then return answer end
  end
end
return answer
""",
)

-- Functions that `post` and `commit` share; they stand in front of both.

-- How much a chat owes: deliveries and bytes on its record, entries and bytes in the inbox.
local function load_of(loads, user)
  local value = redis.call('HGET', loads, user) or ''
  local owed, bytes, pending, pending_bytes = string.match(value, '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(owed or 0), tonumber(bytes or 0), tonumber(pending or 0), tonumber(pending_bytes or 0)
end

local function set_load(loads, user, owed, bytes, pending, pending_bytes)
  redis.call('HSET', loads, user, string.format('%d %d %d %d', owed, bytes, pending, pending_bytes))
end

-- Keeps members as context in the order of their arrival; the oldest go when there is too much, or when they are old.
local function keep_context(context, size_key, members, ttl_s, limit, byte_limit)
  local time = redis.call('TIME')
  local now_us = time[1] * 1000000 + time[2]
  local count = redis.call('ZCARD', context)
  local size = count > 0 and tonumber(redis.call('GET', size_key) or '0') or 0
  local function drop(dropped)
    for _, member in ipairs(dropped) do
      redis.call('ZREM', context, member)
      count, size = count - 1, math.max(size - #member, 0)
    end
  end
  -- Members from before arrival was kept have a score in milliseconds.
  drop(redis.call('ZRANGEBYSCORE', context, '-inf', math.floor(now_us / 1000) - ttl_s * 1000))
  drop(redis.call('ZRANGEBYSCORE', context, '100000000000000', now_us - ttl_s * 1000000))
  for _, member in ipairs(members) do
    if not redis.call('ZSCORE', context, member) then
      local last = redis.call('ZREVRANGE', context, 0, 0, 'WITHSCORES')
      redis.call('ZADD', context, math.max(now_us, tonumber(last[2] or '0') + 1), member)
      count, size = count + 1, size + #member
    end
  end
  while count > limit or (size > byte_limit and count > 1) do
    drop(redis.call('ZRANGE', context, 0, 0))
  end
  redis.call('SET', size_key, size, 'EX', ttl_s)
  redis.call('EXPIRE', context, ttl_s)
end


-- A message in: dropped when seen before; to the inbox when its user has an open chat; else kept as context.
-- KEYS: seen, chats, inbox, context, loads
-- ARGV: user, event ('' where the message may only be context), context member, score (ms), now (ms),
--       seen TTL (s), context TTL (s), context limit, mailbox limit
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- A write, so that a WAIT after a repeat waits for the first copy as well.
  redis.call('EXPIRE', KEYS[1], ARGV[6])
  return 'repeat'
end
local talking = ARGV[2] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1
if talking then
  if tonumber(redis.call('HGET', KEYS[5], ARGV[1]) or '0') >= tonumber(ARGV[9]) then
    return 'full'
  end
  redis.call('XADD', KEYS[3], '*', 'user', ARGV[1], 'event', ARGV[2])
  redis.call('HINCRBY', KEYS[5], ARGV[1], 1)
else
  redis.call('ZADD', KEYS[4], ARGV[4], ARGV[3])
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', tonumber(ARGV[5]) - tonumber(ARGV[7]) * 1000)
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -tonumber(ARGV[8]) - 1)
  redis.call('EXPIRE', KEYS[4], ARGV[7])
end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[6])
if talking then
  return 'inbox'
end
return 'context'

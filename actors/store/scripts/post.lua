-- A message in: dropped when seen before; to the inbox when its user has an open chat; else kept as context.
-- `append` is the inbox engine's function, and stands in front of this script.
-- KEYS: seen, chats, context, loads, versions, then the engine's
-- ARGV: user, event ('' where the message may only be context), context member, score (ms), now (ms),
--       seen TTL (s), context TTL (s), context limit, mailbox limit
-- Answers where the message went (or 'append': the engine has to append it), and the id of the open chat.
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- A write, so that a WAIT after a repeat waits for the first copy as well.
  redis.call('EXPIRE', KEYS[1], ARGV[6])
  return { 'repeat', '' }
end
local talking = ARGV[2] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1
if talking then
  if tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or '0') >= tonumber(ARGV[9]) then
    return { 'full', '' }
  end
  local version = redis.call('HGET', KEYS[5], ARGV[1]) or ''
  local chat = string.match(version, '^(.*)/') or ''
  if not append({ unpack(KEYS, 6) }, ARGV[1], ARGV[2], chat) then
    return { 'append', chat }
  end
  redis.call('HINCRBY', KEYS[4], ARGV[1], 1)
else
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', tonumber(ARGV[5]) - tonumber(ARGV[7]) * 1000)
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -tonumber(ARGV[8]) - 1)
  redis.call('EXPIRE', KEYS[3], ARGV[7])
end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[6])
if talking then
  return { 'inbox', '' }
end
return { 'context', '' }

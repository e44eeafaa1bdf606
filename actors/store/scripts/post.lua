-- A message in: dropped when seen before; to the inbox when its user has an open chat; else kept as context.
-- `append` is the inbox engine's function; it stands in front of this script, with those of shared.lua.
-- KEYS: seen, chats, context, context_bytes, loads, versions, then the engine's
-- ARGV: user, event ('' where the message may only be context), context member, seen TTL (s),
--       context TTL (s), context limit, context bytes, mailbox limit, mailbox bytes,
--       the name that an earlier version gave to a Messenger user, or ''
-- Answers where the message went (or 'append': the engine has to append it), and the id of the open chat.
local user, event = ARGV[1], ARGV[2]
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- A write, so that a WAIT after a repeat waits for the first copy as well.
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  return { 'repeat', '' }
end
if event ~= '' and ARGV[10] ~= '' and redis.call('HEXISTS', KEYS[2], user) == 0 then
  local old = redis.call('HGET', KEYS[2], ARGV[10])
  if old and string.find(old, '"provider":"facebook"', 1, true) then
    user = ARGV[10]
  end
end
local went = 'context'
if event ~= '' and redis.call('HEXISTS', KEYS[2], user) == 1 then
  local owed, bytes, pending, pending_bytes = load_of(KEYS[5], user)
  if owed + pending >= tonumber(ARGV[8]) or bytes + pending_bytes + #event > tonumber(ARGV[9]) then
    return { 'full', '' }
  end
  local chat = string.match(redis.call('HGET', KEYS[6], user) or '', '^(.*)/') or ''
  if not append({ unpack(KEYS, 7) }, user, event, chat) then
    return { 'append', chat }
  end
  set_load(KEYS[5], user, owed, bytes, pending + 1, pending_bytes + #event)
  went = 'inbox'
else
  keep_context(KEYS[3], KEYS[4], { ARGV[3] }, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))
end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[4])
return { went, '' }

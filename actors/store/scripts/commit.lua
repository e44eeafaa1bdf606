-- One step of a chat, whole or not at all, and only by the partition's owner.
-- KEYS: lease, chats, inbox, ended, context, dead, flight, loads
-- ARGV: lease value, user, record ('' where there is none), over ('1' when the chat has ended), owed to the agent,
--       context TTL (s), context limit, flight limit, then four lists, each with its length in front:
--       inbox entries, context (score, member, ...), dead letters, flight entries
-- Answers 1 when written, 2 when this very step was written before, 0 when somebody else owns the partition.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local at = 9
local function list()
  local length = tonumber(ARGV[at])
  local items = {}
  for i = 1, length do
    items[i] = ARGV[at + i]
  end
  at = at + length + 1
  return items
end
-- Entries that were handled go, also when this step was written before and only its entries came again.
local entries, gone = list(), 0
for _, entry in ipairs(entries) do
  gone = gone + redis.call('XDEL', KEYS[3], entry)
end
local user, record, over = ARGV[2], ARGV[3], ARGV[4] == '1'
if record ~= '' then
  local written
  if over then
    written = redis.call('GET', KEYS[4])
  else
    written = redis.call('HGET', KEYS[2], user)
  end
  if written == record then
    -- A write, so that a WAIT after a repeat waits for the first copy as well.
    if over then
      redis.call('EXPIRE', KEYS[4], ARGV[6])
    else
      redis.call('HSET', KEYS[2], user, record)
    end
    return 2
  end
end
if over then
  redis.call('HDEL', KEYS[2], user)
  redis.call('HDEL', KEYS[8], user)
  redis.call('SET', KEYS[4], record, 'EX', ARGV[6])
elseif record ~= '' then
  redis.call('HSET', KEYS[2], user, record)
  redis.call('HSET', KEYS[8], user, ARGV[5])
end
local context = list()
for i = 1, #context, 2 do
  redis.call('ZADD', KEYS[5], context[i], context[i + 1])
end
if #context > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -tonumber(ARGV[7]) - 1)
  redis.call('EXPIRE', KEYS[5], ARGV[6])
end
-- Without a record the entries alone tell a step from its repeat; context is told apart by itself.
local letters, repeated = list(), record == '' and #entries > 0 and gone == 0
if not repeated then
  for _, letter in ipairs(letters) do
    redis.call('XADD', KEYS[6], '*', 'letter', letter)
  end
end
local flight = list()
for _, entry in ipairs(flight) do
  redis.call('RPUSH', KEYS[7], entry)
end
if #flight > 0 then
  redis.call('LTRIM', KEYS[7], -tonumber(ARGV[8]), -1)
  redis.call('EXPIRE', KEYS[7], 7 * ARGV[6])
end
return 1

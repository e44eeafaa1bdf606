-- One step of a chat, whole or not at all, and only by the partition's owner.
-- `record_position` is the inbox engine's function; it stands in front of this script, with those of shared.lua.
-- KEYS: lease, chats, ended, context, context_bytes, dead, flight, loads, versions, steps, then the engine's
-- ARGV: lease value, user, record ('' without one), over ('1' when the chat has ended), the record's version,
--       the version that the step builds on ('' without a record, '*' unchecked), the steps that the owner knows of,
--       owed to the agent, context TTL (s), context limit, context bytes, flight limit, dead limit, dead TTL (s),
--       then five lists, each with its length in front:
--       the engine's position, context members, dead letters, ids of dead letters that are sent again, flight entries
-- Answers 1 when written, 2 when this very step was written before, 0 when somebody else owns the partition, 3 when
-- the store went back; and how many steps the partition has.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return { 0, 0 }
end
local steps = tonumber(redis.call('GET', KEYS[10]) or '0')
if steps < tonumber(ARGV[7]) then
  return { 3, steps }
end
local user, record, over, base = ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[6]
local repeated = false
if record ~= '' then
  if over then
    repeated = redis.call('GET', KEYS[3]) == record
  else
    repeated = redis.call('HGET', KEYS[2], user) == record
  end
  local version = redis.call('HGET', KEYS[9], user)
  -- A record from before there were versions has none.
  local unversioned = not version and base ~= '' and redis.call('HEXISTS', KEYS[2], user) == 1
  if not repeated and base ~= '*' and (version or '') ~= base and not unversioned then
    return { 3, steps }
  end
end
local at = 15
local function list()
  local length = tonumber(ARGV[at])
  local items = {}
  for i = 1, length do
    items[i] = ARGV[at + i]
  end
  at = at + length + 1
  return items
end
-- Entries that were handled are recorded also when this step was written before and only its entries came again.
local entries = list()
local news = record_position({ unpack(KEYS, 11) }, entries)
local owed, bytes, pending, pending_bytes = load_of(KEYS[8], user)
if news > 0 and pending > 0 then
  pending = math.max(pending - news, 0)
  -- How many bytes went is not known; what is left is counted in full until nothing is left.
  pending_bytes = pending > 0 and pending_bytes or 0
  set_load(KEYS[8], user, owed, bytes, pending, pending_bytes)
end
if repeated then
  -- A write, so that a WAIT after a repeat waits for the first copy as well.
  redis.call('SET', KEYS[10], steps)
  return { 2, steps }
end
if over then
  for _, key in ipairs({ KEYS[2], KEYS[8], KEYS[9] }) do
    redis.call('HDEL', key, user)
  end
  redis.call('SET', KEYS[3], record, 'EX', ARGV[9])
elseif record ~= '' then
  redis.call('HSET', KEYS[2], user, record)
  redis.call('HSET', KEYS[9], user, ARGV[5])
  set_load(KEYS[8], user, ARGV[8], #record, pending, pending_bytes)
end
local context = list()
if #context > 0 then
  keep_context(KEYS[4], KEYS[5], context, tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]))
end
-- Without a record the entries alone tell a step from its repeat; context is told apart by itself.
local letters, again = list(), record == '' and #entries > 0 and news == 0
if #letters > 0 and not again then
  for _, letter in ipairs(letters) do
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[13], '*', 'letter', letter)
  end
  redis.call('EXPIRE', KEYS[6], ARGV[14])
end
for _, id in ipairs(list()) do
  redis.call('XDEL', KEYS[6], id)
end
local flight = list()
for _, entry in ipairs(flight) do
  redis.call('RPUSH', KEYS[7], entry)
end
if #flight > 0 then
  redis.call('LTRIM', KEYS[7], -tonumber(ARGV[12]), -1)
  redis.call('EXPIRE', KEYS[7], 7 * ARGV[9])
end
return { 1, redis.call('INCR', KEYS[10]) }

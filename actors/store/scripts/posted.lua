-- A message that the inbox's engine appended outside `post`: it is seen from now on, and its chat owes it.
-- The functions of shared.lua stand in front of this script.
-- KEYS: seen, loads   ARGV: user, event, seen TTL (s)
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[3]) then
  local owed, bytes, pending, pending_bytes = load_of(KEYS[2], ARGV[1])
  set_load(KEYS[2], ARGV[1], owed, bytes, pending + 1, pending_bytes + #ARGV[2])
end
return 1

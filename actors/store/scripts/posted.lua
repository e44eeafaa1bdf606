-- A message that the inbox's engine appended outside `post`: it is seen from now on, and its chat owes it.
-- KEYS: seen, loads   ARGV: user, seen TTL (s)
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[2]) then
  redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
end
return 1

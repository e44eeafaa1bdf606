-- Keeps a lease that is still ours.   KEYS: lease, steps   ARGV: lease value, TTL (ms), the steps that the owner knows of
-- Answers 1 when kept, 0 when the lease is not ours, -1 when the store went back.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if tonumber(redis.call('GET', KEYS[2]) or '0') < tonumber(ARGV[3]) then
  return -1
end
return 1

-- Takes a partition that nobody owns.
-- KEYS: lease, epoch, released, steps   ARGV: worker, TTL (ms)
-- Answers the lease's value, which carries the new epoch, 1 when the last owner is known to have let go, and how many
-- commits the partition has seen; or nothing.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local epoch = redis.call('INCR', KEYS[2])
local value = ARGV[1] .. ':' .. epoch
redis.call('SET', KEYS[1], value, 'PX', ARGV[2])
local released = redis.call('DEL', KEYS[3])
if epoch == 1 then
  released = 1
end
return { value, released, tonumber(redis.call('GET', KEYS[4]) or '0') }

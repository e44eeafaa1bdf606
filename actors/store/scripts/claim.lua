-- Takes a partition that nobody owns.
-- KEYS: lease, epoch, released   ARGV: worker, TTL (ms)
-- Answers the lease's value, which carries the new epoch, and 1 when the last owner is known to have let go; or nothing.
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
return { value, released }

-- Gives up a lease that is still ours, and says so to the next owner.   KEYS: lease, released   ARGV: lease value
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[2], '1', 'EX', 600)
  return redis.call('DEL', KEYS[1])
end
return 0

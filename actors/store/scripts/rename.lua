-- Moves a chat to another name of its user, by the partition's owner alone.
-- KEYS: lease, then the hashes   ARGV: lease value, old name, new name
if ARGV[2] == ARGV[3] or redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
for i = 2, #KEYS do
  local value = redis.call('HGET', KEYS[i], ARGV[2])
  if value and redis.call('HSETNX', KEYS[i], ARGV[3], value) == 1 then
    redis.call('HDEL', KEYS[i], ARGV[2])
  end
end
return 1

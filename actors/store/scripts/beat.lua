-- A worker's heartbeat, by the store's own clock.   KEYS: workers   ARGV: worker, TTL (ms)
-- Answers the store's time (ms), and every worker whose heartbeat is not older than the TTL.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return { now, redis.call('ZRANGE', KEYS[1], 0, -1) }

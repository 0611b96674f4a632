-- Drops from the log what the archive has committed, and says so to the backlog's measure.
--
-- ARGV[1]  seq of the last event that is committed
--
-- Returns the number of entries dropped.

local flushed = tonumber(ARGV[1])
local known = tonumber(redis.call('HGET', meta_key, 'flushed') or 0)
if flushed > known then redis.call('HSET', meta_key, 'flushed', ARGV[1]) end
return redis.call('XTRIM', key('log'), 'MINID', string.format('%.0f-0', flushed + 1))

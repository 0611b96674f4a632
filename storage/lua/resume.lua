-- Lets a live state go on under a new epoch, if it is still the one that was found.
--
-- ARGV[1]  msgpack array {epoch that was found, new epoch, life of the store}
--
-- Returns the last seq, or -1 where the state is another one by now.

local found, epoch, run = unpack(cmsgpack.unpack(ARGV[1]))
local meta = redis.call('HMGET', meta_key, 'epoch', 'ready', 'seq')
if meta[1] ~= found or not meta[2] then return -1 end
redis.call('HSET', meta_key, 'epoch', epoch, 'run', run)
return tonumber(meta[3] or 0)

-- Lets no more votes in, for one who puts the live state together anew: see `load.lua`.
--
-- ARGV[1]  msgpack array {epoch that was found or false, holder}
--
-- Returns 1, or 0 where the state is another one by now, and nothing happened.

local found, holder = unpack(cmsgpack.unpack(ARGV[1]))
if redis.call('HGET', meta_key, 'epoch') ~= found then return 0 end
redis.call('HDEL', meta_key, 'ready')
redis.call('HSET', meta_key, 'holder', holder)
return 1

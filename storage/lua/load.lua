-- Puts what the archive knows into the live store: new items of a running board, and everything at a rebuild.
--
-- ARGV[1]  msgpack array of parts, each {kind, ...}:
--    {'clear'}                                                   no position, from which all the rest follows
--    {'unlink', {key, ...}}                                      what is left of what was there
--    {'begin', epoch, seq, life of the store}                    the new position
--    {'board', number, now, {day, week, month}}                  makes the board's state where there is none
--    {'items', board, {item id, item number, up, down, all, day, week, month, trending, ...}}  points a window;
--             trending relative to the board's landmark. Where an item is there already, whoever adds it leaves it as it is
--    {'titles', tenant, {field, JSON [title, artist], ...}}
--    {'ballots', board, agent, {item number, ballot, ...}}
--    {'quota', day, {agent, used, ...}}
--    {'show'}                                                    boards may be read
--    {'open'}                                                    votes may come
-- ARGV[2]  who puts the live state together: nothing happens where somebody else does by now; '' for whoever adds
--
-- Returns the number of items that are new, -1 where nothing happened.

if ARGV[2] ~= '' and redis.call('HGET', meta_key, 'holder') ~= ARGV[2] then return -1 end

local LISTED = { 'all', 'day', 'week', 'month', 'trending' }

local function load_items(board, list)
  local added = 0
  local names = {}
  local sets = {}
  for i = 1, #list, 9 do
    local id = list[i]
    names[#names + 1] = 0
    names[#names + 1] = id
    -- Who holds the live state knows better than whoever adds what is new, with score 0.
    local command = ARGV[2] == '' and 'HSETNX' or 'HSET'
    local new = redis.call(command, key('i', board), id, cmsgpack.pack({ list[i + 1], list[i + 2], list[i + 3] }))
    if new == 1 or ARGV[2] ~= '' then
      added = added + 1
      for n, window in ipairs(LISTED) do
        local points = list[i + 3 + n]
        if points ~= 0 then
          local set = sets[window] or {}
          sets[window] = set
          set[#set + 1] = -points
          set[#set + 1] = id
        end
      end
    end
  end
  call_many('ZADD', key('l', board), names, 2)
  for window, set in pairs(sets) do call_many('ZADD', key('z', board, window), set, 2) end
  return added
end

local added, versions = 0, {}
for _, part in ipairs(cmsgpack.unpack(ARGV[1])) do
  local kind = part[1]
  if kind == 'board' then
    if not load_board(part[2]) then
      local now, periods = advance_clock(part[3], part[4])
      save_board(part[2], { version = 0, day = periods[1], week = periods[2], month = periods[3],
        landmark = minute_of(now), shown_at = minute_of(now), reference = 0 })
      versions[#versions + 1] = part[2]
      versions[#versions + 1] = 0
    end
  elseif kind == 'items' then
    local new = load_items(part[2], part[3])
    if new > 0 then bump(part[2], load_board(part[2]), versions) end
    added = added + new
  elseif kind == 'titles' then
    call_many('HSET', key('t', part[2]), part[3], 2)
  elseif kind == 'ballots' then
    call_many('HSET', key('v', part[2], part[3]), part[4], 2)
  elseif kind == 'quota' then
    call_many('HSET', key('q', part[2]), part[3], 2)
    redis.call('EXPIRE', key('q', part[2]), 3 * 86400)
  elseif kind == 'clear' then
    redis.call('DEL', meta_key)
    redis.call('HSET', meta_key, 'holder', ARGV[2])
  elseif kind == 'unlink' then
    for _, name in ipairs(part[2]) do redis.call('UNLINK', name) end
  elseif kind == 'begin' then
    local seq = string.format('%.0f', part[3])
    redis.call('HSET', meta_key, 'epoch', part[2], 'seq', seq, 'flushed', seq, 'run', part[4])
  elseif kind == 'show' then
    redis.call('HSET', meta_key, 'readable', 1)
  elseif kind == 'open' then
    redis.call('HSET', meta_key, 'ready', 1)
  end
end
local meta = redis.call('HMGET', meta_key, 'epoch', 'seq')
announce(meta[1], tonumber(meta[2] or 0), versions)
return added

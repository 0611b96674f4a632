-- What every script of a shard begins with: its keys, and the windows of a board.
--
-- KEYS[1]  the shard's prefix, such as `plaudit:{0}`. Its braces put every key below in one slot.
--
--   <prefix>:meta        hash    epoch, ready, seq (last event), flushed (last seq in the archive), clock (ms),
--                                periods (that it is in; msgpack), run (the store's life that it was compared
--                                with the archive in) and holder (who put the state together)
--   <prefix>:log         stream  one entry per applied batch, id `<its last seq>-0`, field `rows`
--   <prefix>:b:<board>   hash    version, day/week/month (current periods, days since 1970), landmark
--                                and shown_at (ms, for `trending`), reference (sample of ranks)
--   <prefix>:l:<board>   zset    every item of the board, score 0: who is ranked, in the order of ids
--   <prefix>:i:<board>   hash    item id -> msgpack [item number, up, down]
--   <prefix>:z:<board>:<window>  zset  item id -> minus its points, only where they are not zero;
--                                for `trending` minus points * 2^((t - landmark) / half-life)
--   <prefix>:v:<board>:<agent>   hash  item number -> ballot: value, or value:weight
--   <prefix>:q:<day>     hash    agent -> votes used that day
--   <prefix>:t:<tenant>  hash    <item type>:<item id> -> JSON [title, artist]
--   <prefix>:r:<sender>  string  number and reply of a sender's latest batch
--   <prefix>:w           hash    server -> msgpack [ms, {board: viewers}], for the servers alone: who watches where
--
-- Scores are negated so that a plain ascending range gives score descending, then item id ascending.

local prefix = KEYS[1]
local HALF_LIFE = 6 * 3600 * 1000
local CALENDAR = { 'day', 'week', 'month' }
local WINDOW_BITS = { all = 1, day = 2, week = 4, month = 8, trending = 16 }

local function key(kind, a, b)
  if b then return prefix .. ':' .. kind .. ':' .. a .. ':' .. b end
  if a then return prefix .. ':' .. kind .. ':' .. a end
  return prefix .. ':' .. kind
end

local meta_key = key('meta')

-- Trending counts time in whole minutes, so that between two moments that it is shown as of a vote weighs just 1.
local function minute_of(at)
  return at - at % 60000
end

-- What a vote cast in the minute `at` weighs in the trending set, relative to `landmark`.
local function gain(at, landmark)
  return 2 ^ ((at - landmark) / HALF_LIFE)
end

local function round(x)
  return math.floor(x + 0.5)
end

-- A command with a list of arguments, in portions that Lua's stack can take.
local function call_many(command, first, list, width)
  local portion = 3000 - 3000 % (width or 1)
  for i = 1, #list, portion do
    redis.call(command, first, unpack(list, i, math.min(i + portion - 1, #list)))
  end
end

-- Moves the store's clock on to `now`, or answers where it is where that is later. It never goes back: a vote from
-- a server whose clock is behind must not fall into a period that has ended.
local function advance_clock(now, periods)
  local known = redis.call('HMGET', meta_key, 'clock', 'periods')
  if tonumber(known[1] or 0) > now then return tonumber(known[1]), cmsgpack.unpack(known[2]) end
  redis.call('HSET', meta_key, 'clock', string.format('%.0f', now), 'periods', cmsgpack.pack(periods))
  return now, periods
end

-- Empties the calendar windows whose period is over. Returns whether there was anything in them.
local function begin_periods(board, state, periods)
  local begun = false
  for n, window in ipairs(CALENDAR) do
    if state[window] < periods[n] then
      begun = redis.call('UNLINK', key('z', board, window)) == 1 or begun
      state[window] = periods[n]
    end
  end
  return begun
end

local RESCALE_AFTER = 400 * HALF_LIFE

-- Doubles overflow after a thousand half-lives: long before that the landmark moves up.
local function rescale(zset, state)
  local landmark = state.shown_at
  redis.call('ZUNIONSTORE', zset, 1, zset, 'WEIGHTS', string.format('%.17g', 1 / gain(landmark, state.landmark)))
  state.landmark = landmark
end

local LOOKED_AT = 500

-- Whether a trending set that was shown as of one moment, and is nowhere empty of points, looks different as of a
-- later one. Scores are shown rounded, and small ones stay what they are for minutes. Where many would have to be
-- looked at to know, the answer is yes.
local function fades(zset, landmark, before, after)
  local was, is = 1 / gain(before, landmark), 1 / gain(after, landmark)
  for _, range in ipairs({ { 0, LOOKED_AT - 1 }, { -LOOKED_AT, -1 } }) do
    -- The extremes stand at the ends, and move most.
    local flat = redis.call('ZRANGE', zset, range[1], range[2], 'WITHSCORES')
    for i = 2, #flat, 2 do
      local points = -tonumber(flat[i])
      if round(points * was) ~= round(points * is) then return true end
    end
  end
  return redis.call('ZCARD', zset) > 2 * LOOKED_AT
end

-- Shows trending as of a minute, dropping what has decayed to where it is shown as 0. Returns whether anything
-- looks different.
local function show_trending(board, state, minute)
  if minute <= state.shown_at then return false end
  local zset = key('z', board, 'trending')
  local before = state.shown_at
  state.shown_at = minute
  if redis.call('EXISTS', zset) == 0 then
    state.landmark = minute
    return false
  end
  local faded = fades(zset, state.landmark, before, minute)
  if minute - state.landmark > RESCALE_AFTER then
    rescale(zset, state)
    -- Whoever hears that nothing looks different need not save the landmark.
    faded = true
  end
  local bound = 0.5 * gain(minute, state.landmark)
  redis.call('ZREMRANGEBYSCORE', zset, string.format('(%.17g', -bound), string.format('%.17g', bound))
  return faded
end

local BOARD_FIELDS = { 'version', 'day', 'week', 'month', 'landmark', 'shown_at', 'reference' }

-- The board's own hash as numbers; nil where the board is not in the live store.
local function load_board(board)
  local values = redis.call('HMGET', key('b', board), unpack(BOARD_FIELDS))
  if not values[1] then return nil end
  local state = {}
  for n, field in ipairs(BOARD_FIELDS) do state[field] = tonumber(values[n]) or 0 end
  return state
end

local function save_board(board, state)
  local fields = {}
  for _, field in ipairs(BOARD_FIELDS) do
    fields[#fields + 1] = field
    fields[#fields + 1] = string.format('%.0f', state[field])
  end
  redis.call('HSET', key('b', board), unpack(fields))
end

-- Raises a board's version, saves its state and notes the version for `announce`.
local function bump(board, state, versions)
  state.version = state.version + 1
  save_board(board, state)
  versions[#versions + 1] = board
  versions[#versions + 1] = state.version
end

-- Tells every server which boards are at which version, and by how many events.
-- versions: {board, version, board, version ...}; events likewise, nil where there were none
local function announce(epoch, seq, versions, events)
  if epoch and #versions > 0 then
    redis.call('PUBLISH', key('changed'), cmsgpack.pack({ epoch, seq, versions, events or {} }))
  end
end

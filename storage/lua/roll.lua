-- Moves the time-bound state of boards on: ends calendar windows, advances the moment that trending scores
-- are shown as of, and the sample that movement is counted from. Whatever changes raises the board's version.
--
-- ARGV[1]  msgpack array {now, {day, week, month}, {board, reference, ...}}; a reference of 0 keeps the old one.
--          now and reference are ms.
--
-- Returns the number of boards that changed.

local RESCALE_AFTER = 400 * HALF_LIFE

-- Doubles overflow after a thousand half-lives: long before that the landmark moves up.
local function rescale(zset, state)
  local landmark = state.shown_at
  redis.call('ZUNIONSTORE', zset, 1, zset, 'WEIGHTS', string.format('%.17g', 1 / gain(landmark, state.landmark)))
  state.landmark = landmark
end

-- Shows trending as of a minute, dropping what has decayed below half a hundredth.
local function show_trending(board, state, minute)
  local zset = key('z', board, 'trending')
  if minute <= state.shown_at or redis.call('EXISTS', zset) == 0 then return false end
  state.shown_at = minute
  if minute - state.landmark > RESCALE_AFTER then rescale(zset, state) end
  local bound = 0.5 * gain(minute, state.landmark)
  redis.call('ZREMRANGEBYSCORE', zset, string.format('(%.17g', -bound), string.format('(%.17g', bound))
  return true
end

local now, periods, boards = unpack(cmsgpack.unpack(ARGV[1]), 1, 3)
local meta = redis.call('HMGET', meta_key, 'seq', 'clock', 'periods', 'epoch')
if tonumber(meta[2] or 0) > now then
  now, periods = tonumber(meta[2]), cmsgpack.unpack(meta[3])
end

local versions = {}
for i = 1, #boards, 2 do
  local board, reference = boards[i], boards[i + 1]
  local state = load_board(board)
  if state then
    local moved = begin_periods(board, state, periods)
    moved = show_trending(board, state, minute_of(now)) or moved
    if reference ~= 0 and reference ~= state.reference then
      state.reference = reference
      moved = true
    end
    if moved then bump(board, state, versions) end
  end
end
announce(meta[4], tonumber(meta[1] or 0), versions)
return #versions / 2

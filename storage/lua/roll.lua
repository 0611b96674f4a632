-- Moves the time-bound state of boards on: ends calendar windows, advances the moment that trending scores
-- are shown as of, and the sample that movement is counted from. Whatever changes raises the board's version.
--
-- ARGV[1]  msgpack array {now, {day, week, month}, {board, reference, ...}}; a reference of 0 keeps the old one.
--          now and reference are ms.
--
-- Returns the number of boards that changed. A store that is not ready stays as it is.

local now, periods, boards = unpack(cmsgpack.unpack(ARGV[1]), 1, 3)
local meta = redis.call('HMGET', meta_key, 'seq', 'epoch', 'ready')
-- A store that is being filled has windows of the moment at which that began.
if not meta[3] then return 0 end
now, periods = advance_clock(now, periods)

local versions = {}
for i = 1, #boards, 2 do
  local board, reference = boards[i], boards[i + 1]
  local state = load_board(board)
  if state then
    local shown_at = state.shown_at
    local moved = begin_periods(board, state, periods)
    moved = show_trending(board, state, minute_of(now)) or moved
    if reference ~= 0 and reference ~= state.reference then
      state.reference = reference
      moved = true
    end
    if moved then
      bump(board, state, versions)
    elseif state.shown_at ~= shown_at then
      save_board(board, state)
    end
  end
end
announce(meta[2], tonumber(meta[1] or 0), versions)
return #versions / 2

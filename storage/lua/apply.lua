-- Applies a batch of votes in one step: checks, counts, numbers, logs and announces them.
--
-- ARGV[1]  msgpack array:
--    1 sender    who sends this batch: `<server>:<slot>`
--    2 batch     its number: the same again is answered as the first time, a lower one came too late
--    3 epoch     the live state that the sender knows
--    4 floor     a seq that is known to have been given out: a store below it has lost events
--    5 backlog   how many events may wait for the archive
--    6 now       ms
--    7 periods   {day, week, month} that began last at `now`, days since 1970
--    8 boards    {number, changeable, opens (ms or 0), closes (ms or 0), window bits, ...}
--    9 items     {index in boards, item id, ...}
--   10 agents    {number, daily limit or -1, ...}
--   11 votes     {index in agents, index in items, value or false (retract), weight, comment or false,
--                 whether the rank is wanted, ...}; indexes count from 1
--   12 leeway    how many ms `now` may be ahead of this server's clock; 0 for any
--
-- Returns msgpack {reason, epoch, first seq - 1, changed, results}; reason is `ok`, `epoch`, `behind`, `late`
-- or `ahead` (then the first seq is this server's clock, ms) and nothing happened unless it is `ok`.
-- changed: {board, version, ...}. results: seven integers a vote: status, seq (0: none), points, up, down,
-- quota left (-1: no limit), rank (0: not asked for).

local APPLIED, CHANGED, UNCHANGED, RETRACTED, UNKNOWN_ITEM, NO_BALLOT, ALREADY_VOTED, QUOTA_EXCEEDED,
  VOTING_CLOSED, OVERLOADED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
local FULL_WEIGHT = 100
local YEAR_2000 = 946684800000
local SENT_DIGITS = 16

local sender, batch, epoch, floor, backlog, now, periods, boards_in, items_in, agents_in, votes, leeway =
  unpack(cmsgpack.unpack(ARGV[1]), 1, 12)

local sent_key = key('r', sender)
local sent = tonumber(redis.call('GETRANGE', sent_key, 0, SENT_DIGITS - 1)) or 0
if sent == batch then
  -- A write, too: WAIT counts the replicas that have the connection's last one, and this may be its first.
  redis.call('EXPIRE', sent_key, 3600)
  return string.sub(redis.call('GET', sent_key), SENT_DIGITS + 1)
end
-- A copy that was stuck on a connection its sender has given up: the vote was counted, or refused, long ago.
if sent > batch then
  return cmsgpack.pack({ 'late', epoch, 0, {}, {} })
end

if leeway > 0 then
  local time = redis.call('TIME')
  local clock = time[1] * 1000 + math.floor(time[2] / 1000)
  if now > clock + leeway then return cmsgpack.pack({ 'ahead', epoch, clock, {}, {} }) end
end

local meta = redis.call('HMGET', meta_key, 'epoch', 'ready', 'seq', 'flushed', 'clock')
local seq = tonumber(meta[3] or 0)
if meta[1] ~= epoch or not meta[2] then
  return cmsgpack.pack({ 'epoch', meta[1] or '', seq, {}, {} })
end
if seq < floor then
  return cmsgpack.pack({ 'behind', epoch, seq, {}, {} })
end

local before = seq
local room = backlog - (seq - tonumber(meta[4] or 0))
-- What `advance_clock` does, but written at the end, with the seq.
local clock = tonumber(meta[5] or 0)
if clock > now then
  now = clock
  periods = cmsgpack.unpack(redis.call('HGET', meta_key, 'periods'))
end

-- Boards of the batch: rules from the sender, state from the store.
local boards = {}
for i = 1, #boards_in, 5 do
  local number = boards_in[i]
  local bits = boards_in[i + 4]
  local board = {
    number = number, changeable = boards_in[i + 1], state = load_board(number), items = {}, touched = {}, events = 0,
    open = now >= boards_in[i + 2] and (boards_in[i + 3] == 0 or now < boards_in[i + 3]), windows = {},
  }
  for window, bit in pairs(WINDOW_BITS) do
    if math.floor(bits / bit) % 2 == 1 then board.windows[#board.windows + 1] = window end
  end
  if board.state then
    board.moved = begin_periods(number, board.state, periods)
    board.moved = show_trending(number, board.state, minute_of(now)) or board.moved
  end
  boards[#boards + 1] = board
end

-- Items: one HMGET for the counts and one ZMSCORE for the points of each board.
local items = {}
for i = 1, #items_in, 2 do
  local board = boards[items_in[i]]
  -- With all its fields from the start: a table that grows is made anew.
  local item = {
    id = items_in[i + 1], board = board, delta = 0, number = nil, up = nil, down = nil, points = nil, touched = false,
  }
  board.items[#board.items + 1] = item
  items[#items + 1] = item
end
for _, board in ipairs(boards) do
  if board.state and #board.items > 0 then
    local ids = {}
    for n, item in ipairs(board.items) do ids[n] = item.id end
    local counts = redis.call('HMGET', key('i', board.number), unpack(ids))
    local points = redis.call('ZMSCORE', key('z', board.number, 'all'), unpack(ids))
    for n, item in ipairs(board.items) do
      if counts[n] then
        local known = cmsgpack.unpack(counts[n])
        item.number, item.up, item.down = known[1], known[2], known[3]
        item.points = points[n] and -tonumber(points[n]) or 0
      end
    end
  end
end

-- Agents: what each has used of the day's votes, one HMGET for all that have a limit.
local agents, limited = {}, {}
local quota_key = key('q', periods[1])
for i = 1, #agents_in, 2 do
  local agent = { number = agents_in[i], limit = agents_in[i + 1], used = 0, ballots = {} }
  agents[#agents + 1] = agent
  if agent.limit >= 0 then limited[#limited + 1] = agent end
end
if #limited > 0 then
  local fields = {}
  for n, agent in ipairs(limited) do fields[n] = agent.number end
  local used = redis.call('HMGET', quota_key, unpack(fields))
  for n, agent in ipairs(limited) do agent.used = tonumber(used[n] or 0) end
end

-- Ballots: per agent and board one HMGET for those that the batch touches.
local hashes = {}
for i = 1, #votes, 6 do
  local agent, item = agents[votes[i]], items[votes[i + 1]]
  if item.number then
    local board = item.board.number
    local hash = agent.ballots[board]
    if not hash then
      hash = { key = key('v', board, agent.number), numbers = {}, held = {}, dirty = {} }
      agent.ballots[board] = hash
      hashes[#hashes + 1] = hash
    end
    hash.numbers[#hash.numbers + 1] = item.number
  end
end
for _, hash in ipairs(hashes) do
  local held
  if #hash.numbers == 1 then
    held = { redis.call('HGET', hash.key, hash.numbers[1]) }
  else
    held = redis.call('HMGET', hash.key, unpack(hash.numbers))
  end
  for n, number in ipairs(hash.numbers) do hash.held[number] = held[n] end
end

local function parse_ballot(text)
  if not text then return nil, FULL_WEIGHT end
  local value, weight = string.match(text, '^(-?%d+):(%d+)$')
  if value then return tonumber(value), tonumber(weight) end
  return tonumber(text), FULL_WEIGHT
end

-- PostgreSQL's binary COPY: a row is its count of fields, then for each its length and its bytes, -1 for null.
local HEAD = '>I2I4i2I4i8I4i8I4i4I4i4I4i4I4i2I4i4'
local FIRST_BALLOT = HEAD .. 'I4i2i4i4'
local shard = tonumber(string.match(prefix, '{(%d+)}'))
local at = (now - YEAR_2000) * 1000

local function smallint(value)
  return value and struct.pack('>I4i2', 2, value) or struct.pack('>i4', -1)
end

local rows, logged = {}, 0
local function log(board, item, agent, weight, points, value, previous, comment)
  local row
  if value and not previous and not comment then
    row = struct.pack(FIRST_BALLOT, 11, 2, shard, 8, seq, 8, at, 4, board.number, 4, item.number, 4, agent.number,
      2, weight, 4, points, 2, value, -1, -1)
  else
    row = struct.pack(HEAD, 11, 2, shard, 8, seq, 8, at, 4, board.number, 4, item.number, 4, agent.number,
      2, weight, 4, points) .. smallint(value) .. smallint(previous)
      .. (comment and struct.pack('>I4', #comment) .. comment or struct.pack('>i4', -1))
  end
  logged = logged + 1
  rows[logged] = row
end

-- The decision on one vote: its status and, where it changes something, the ballot before it. That a ballot stands is
-- said after the deadline too: it may have been sent again because the answer was lost.
local function decide(agent, item, value)
  if not item.number then return item.board.open and UNKNOWN_ITEM or VOTING_CLOSED end
  local previous, weight = parse_ballot(agent.ballots[item.board.number].held[item.number])
  if previous == value then return UNCHANGED end
  if not item.board.open then return VOTING_CLOSED end
  if value == false then
    if previous == nil then return NO_BALLOT end
    if room <= 0 then return OVERLOADED end
    return RETRACTED, previous, weight
  end
  if previous and not item.board.changeable then return ALREADY_VOTED end
  if agent.limit >= 0 and agent.used >= agent.limit then return QUOTA_EXCEEDED end
  if room <= 0 then return OVERLOADED end
  return previous and CHANGED or APPLIED, previous, weight
end

local function count(item, value, step)
  if value and value > 0 then item.up = item.up + step end
  if value and value < 0 then item.down = item.down + step end
end

local function settle(status, agent, item, value, weight, comment, previous, previous_weight)
  local board = item.board
  if value == false then value = nil; weight = previous_weight end
  local points = (value or 0) * weight - (previous or 0) * previous_weight
  seq = seq + 1
  board.events = board.events + 1
  room = room - 1
  if status ~= RETRACTED and agent.limit >= 0 then
    agent.used = agent.used + 1
    agent.spent = true
  end
  count(item, previous, -1)
  count(item, value, 1)
  item.points = item.points + points
  item.delta = item.delta + points
  if not item.touched then
    item.touched = true
    board.touched[#board.touched + 1] = item
  end
  local hash = agent.ballots[board.number]
  hash.held[item.number] = value and (weight == FULL_WEIGHT and value or value .. ':' .. weight) or false
  hash.dirty[item.number] = true
  log(board, item, agent, weight, points, value, previous, comment)
end

local results, n = {}, 0
local wanted = {}
for i = 1, #votes, 6 do
  local agent, item = agents[votes[i]], items[votes[i + 1]]
  local status, previous, weight = decide(agent, item, votes[i + 2])
  local changed = status == APPLIED or status == CHANGED or status == RETRACTED
  if changed then
    settle(status, agent, item, votes[i + 2], votes[i + 3], votes[i + 4], previous, weight)
  end
  results[n + 1] = status
  results[n + 2] = changed and seq or 0
  results[n + 3] = item.points or 0
  results[n + 4] = item.up or 0
  results[n + 5] = item.down or 0
  results[n + 6] = agent.limit < 0 and -1 or math.max(0, agent.limit - agent.used)
  results[n + 7] = 0
  n = n + 7
  if votes[i + 5] and item.number then wanted[#wanted + 1] = { n, item } end
end

-- Writes: ballots, quotas, then per board its counts and windows, each in as few commands as there are keys.
for _, hash in ipairs(hashes) do
  local put, drop = {}, {}
  for number in pairs(hash.dirty) do
    local ballot = hash.held[number]
    if ballot then
      put[#put + 1] = number
      put[#put + 1] = ballot
    else
      drop[#drop + 1] = number
    end
  end
  if #put > 0 then redis.call('HSET', hash.key, unpack(put)) end
  if #drop > 0 then redis.call('HDEL', hash.key, unpack(drop)) end
end

local spent = {}
for _, agent in ipairs(limited) do
  if agent.spent then
    spent[#spent + 1] = agent.number
    spent[#spent + 1] = agent.used
  end
end
if #spent > 0 then
  redis.call('HSET', quota_key, unpack(spent))
  redis.call('EXPIRE', quota_key, 3 * 86400)
end

-- Moves touched items in one window's set; an item whose points come to zero leaves it.
local function write_window(board, window, ids)
  local zset = key('z', board.number, window)
  local known = window ~= 'all' and redis.call('ZMSCORE', zset, unpack(ids))
  local factor, shown = 1
  if window == 'trending' then
    factor = gain(minute_of(now), board.state.landmark)
    shown = gain(board.state.shown_at, board.state.landmark)
  end
  local put, drop, last = {}, {}, 0
  for n, item in ipairs(board.touched) do
    -- What the store holds is text, minus the points.
    local points = known and item.delta * factor - (known[n] or 0) or item.points
    if points == 0 or shown and round(points / shown) == 0 then
      drop[#drop + 1] = item.id
    else
      put[last + 1] = -points
      put[last + 2] = item.id
      last = last + 2
    end
  end
  if last > 0 then redis.call('ZADD', zset, unpack(put)) end
  if #drop > 0 then redis.call('ZREM', zset, unpack(drop)) end
end

local versions, events = {}, {}
for _, board in ipairs(boards) do
  if #board.touched > 0 then
    events[#events + 1] = board.number
    events[#events + 1] = board.events
    local ids, counts = {}, {}
    for n, item in ipairs(board.touched) do
      ids[n] = item.id
      counts[2 * n - 1] = item.id
      counts[2 * n] = cmsgpack.pack({ item.number, item.up, item.down })
    end
    redis.call('HSET', key('i', board.number), unpack(counts))
    for _, window in ipairs(board.windows) do write_window(board, window, ids) end
    board.moved = true
  end
  if board.moved then bump(board.number, board.state, versions) end
end

for _, want in ipairs(wanted) do
  local item = want[2]
  local zset = key('z', item.board.number, 'all')
  local rank
  if item.points >= 0 then
    rank = redis.call('ZCOUNT', zset, '-inf', '(' .. string.format('%.0f', -item.points)) + 1
  else
    local total = redis.call('ZCARD', key('l', item.board.number))
    rank = total - redis.call('ZCOUNT', zset, string.format('%.0f', -item.points), '+inf') + 1
  end
  results[want[1]] = rank
end

if seq > before then
  redis.call('XADD', key('log'), string.format('%.0f-0', seq), 'rows', table.concat(rows))
end
redis.call('HSET', meta_key, 'seq', string.format('%.0f', seq), 'clock', string.format('%.0f', now),
  'periods', cmsgpack.pack(periods))
announce(epoch, seq, versions, events)

local reply = cmsgpack.pack({ 'ok', epoch, before, versions, results })
redis.call('SET', sent_key, string.format('%016.0f', batch) .. reply, 'EX', 3600)
return reply

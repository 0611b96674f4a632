-- Reads views of boards, as of one moment. Writes nothing and knows no clock: windows are as their
-- board's state says, so that (epoch, version) names what is read.
--
-- ARGV[1]  msgpack array of views, each {board, window, kind, a, b}: `top` limit offset, `items` {item id, ...},
--          `around` item span. A window that the board does not keep is empty: all its items have score 0.
--
-- Returns msgpack {epoch, seq, views}, the epoch empty and no views where the store is being filled and items are
-- missing. There is at least one view, and maybe not as many as were asked for: the others are to be asked for again,
-- and are then as of another moment. A view is {version, total, reference, rows, skip}, or false where the live store
-- does not know the board.
-- rows: {item id, rank, points, up, down} each. Those of a `top` come in order and are no more than asked for, except
-- in `trending`. There, and for `around`, points never rise from row to row, but a tie is in any order, and of one that
-- the view's border cuts there may be all: in order, the view begins after `skip` rows (for `around`: `span` before
-- the item) and is as long as asked for. `items` come in the order asked for.

-- Places of rankings that were looked at so far. Where few have a score of 0, or many share one, a view may take as many
-- as there are items: a script that has seen its share leaves the views that are left to the next one, and votes come in
-- between.
local looked_at = 0
local SHARE = 20000

local opened = {} -- boards' windows, by board and name: many views may be of the same one

-- One window of one board: the zset holds minus the points of the items that have some; the items of score 0
-- stand between its positive and its negative part, in the order of the list.
local function open_window(board, window)
  local windows = opened[board]
  if not windows then
    windows = {}
    opened[board] = windows
  end
  if windows[window] then return windows[window] end
  local state = load_board(board)
  if not state then return nil end
  local w = { board = board, state = state, zset = key('z', board, window), list = key('l', board), factor = 1,
    exact = window ~= 'trending' }
  if not w.exact then w.factor = 1 / gain(state.shown_at, state.landmark) end
  w.total = redis.call('ZCARD', w.list)
  w.above = redis.call('ZCOUNT', w.zset, '-inf', '(0')
  w.zeros = w.total - redis.call('ZCARD', w.zset)
  windows[window] = w
  return w
end

local function points_of(w, stored)
  return round(-stored * w.factor)
end

-- The stored score nearest to those shown with fewer that is shown with more points than these. Scores of a half are
-- common (a vote's 100 points after 18 hours are 12.5), so it has to agree with `points_of` to the last bit.
local function bound_above(w, points)
  local stored = -(points + 0.5) / w.factor
  local bit = math.abs(stored) * 1.2 * 2 ^ -53
  while points_of(w, stored) <= points do stored = stored - bit end
  while points_of(w, stored + bit) > points do stored = stored + bit end
  return stored
end

-- How many of the zset's items have more points.
local function count_above(w, points)
  local bound = w.exact and string.format('(%.0f', -points) or string.format('%.17g', bound_above(w, points))
  return redis.call('ZCOUNT', w.zset, '-inf', bound)
end

-- Competition rank of a score: one more than the items that have more points.
local function rank_of(w, points)
  if points == 0 then return w.above + 1 end
  return count_above(w, points) + 1 + (points < 0 and w.zeros or 0)
end

local function stored_at(w, place)
  return tonumber(redis.call('ZRANGE', w.zset, place, place, 'WITHSCORES')[2])
end

-- First and last place of a tie that can't be cut at a place of the zset: decayed scores are shown rounded, and those
-- that are shown alike stand by what is left below a hundredth, not by id. Just the place where the order is right.
-- Then the points.
local function tie_at(w, place)
  if w.exact then return place, place end
  local points = points_of(w, stored_at(w, place))
  local first, last = count_above(w, points), count_above(w, points - 1) - 1
  if stored_at(w, first) == stored_at(w, last) then return place, place end
  return first, last, points
end

-- Whether who has such a stored score, false for none, is shown with these points.
local function shows(w, stored, points)
  if points == 0 or not stored then return points == 0 and not stored end
  return points_of(w, tonumber(stored)) == points
end

local FAR = 12 -- to find out where an item stands takes as long as to walk past so many

-- The place in the list of the item of score 0 that has so many of these before it. Looks at all items of other scores:
-- it is for those who skip far more.
local function zero_at(w, skip)
  local others = w.total - w.zeros
  looked_at = looked_at + others
  local places = {}
  for first = 0, others - 1, 1000 do
    for _, id in ipairs(redis.call('ZRANGE', w.zset, first, math.min(first + 999, others - 1))) do
      places[#places + 1] = redis.call('ZRANK', w.list, id)
    end
  end
  table.sort(places)
  local place = skip
  for _, taken in ipairs(places) do
    if taken > place then break end
    place = place + 1
  end
  return place
end

-- Up to `count` items of a tie, walking the list from place `start` by `step`, after passing over `skip`; looks at
-- `most` places or a portion more, at all where it is nil.
local function walk_tie(w, points, start, step, skip, count, most)
  most = most or w.total
  local found = {}
  local place, portion = start, math.max(count, 16)
  if w.zeros == w.total then
    place, skip = start + step * skip, 0
  elseif points == 0 and start == 0 and skip > FAR * (w.total - w.zeros) then
    place, skip = zero_at(w, skip), 0
  end
  while #found < count and place >= 0 and place < w.total and math.abs(place - start) < most do
    local first = step > 0 and place or math.max(0, place - portion + 1)
    local last = step > 0 and place + portion - 1 or place
    local ids = redis.call('ZRANGE', w.list, first, last)
    looked_at = looked_at + #ids
    local stored = redis.call('ZMSCORE', w.zset, unpack(ids))
    for i = 1, #ids do
      local n = step > 0 and i or #ids - i + 1
      if shows(w, stored[n], points) then
        if skip > 0 then
          skip = skip - 1
        elseif #found < count then
          found[#found + 1] = { ids[n], 0, points, 0, 0 }
        end
      end
    end
    place = place + step * portion
    portion = math.min(portion * 2, 1000)
  end
  return found
end

local function append(rows, more)
  for _, row in ipairs(more) do rows[#rows + 1] = row end
end

local function reversed(rows)
  local turned = {}
  for i = #rows, 1, -1 do turned[#turned + 1] = rows[i] end
  return turned
end

-- Whether so many items of a tie are found sooner by walking the list, which has them in order, than by reading all.
local function walks(w, size, count)
  return size > 1 and count * w.total < 2 * size * size
end

local function read_places(w, first, last, rows)
  if last < first then return end
  local flat = redis.call('ZRANGE', w.zset, first, last, 'WITHSCORES')
  looked_at = looked_at + #flat / 2
  for i = 1, #flat, 2 do rows[#rows + 1] = { flat[i], 0, points_of(w, tonumber(flat[i + 1])), 0, 0 } end
end

-- `count` items of a tie after `skip` of them, in order; nothing where it is better to read all of the tie.
local function sought(w, points, size, skip, count)
  if not walks(w, size, skip + count) then return nil end
  local found = walk_tie(w, points, 0, 1, skip, count, size)
  return #found == count and found or nil
end

-- Appends the items of some places of the zset, and maybe all of the ties that are cut at both ends. Answers how many
-- are before the first.
local function stored_range(w, first, last, rows)
  last = math.min(last, w.total - w.zeros - 1)
  if last < first then return 0 end
  local head, head_last, points = tie_at(w, first)
  local till = math.min(last, head_last)
  local begun = (head < first or till < head_last)
    and sought(w, points, head_last - head + 1, first - head, till - first + 1)
  if begun then
    append(rows, begun)
    return stored_range(w, till + 1, last, rows)
  end
  local tail, tail_last, tail_points = tie_at(w, last)
  local ended = head < tail and last < tail_last
    and sought(w, tail_points, tail_last - tail + 1, 0, last - tail + 1)
  read_places(w, head, ended and tail - 1 or tail_last, rows)
  if ended then append(rows, ended) end
  return first - head
end

-- The items from `offset` on: rows, and how many of them are before the first.
local function top(w, limit, offset)
  local rows = {}
  local ending = offset + limit
  local skip = stored_range(w, offset, math.min(w.above, ending) - 1, rows)
  local first = math.max(0, offset - w.above)
  local zeros = math.min(w.zeros, ending - w.above) - first
  if zeros > 0 then append(rows, walk_tie(w, 0, 0, 1, first, zeros)) end
  skip = skip + stored_range(w, math.max(w.above, offset - w.zeros), ending - w.zeros - 1, rows)
  return rows, skip
end

-- At least the `span` items right before and right after one item, going on over the borders of the three parts.
local function around(w, item, span)
  local place = redis.call('ZRANK', w.list, item)
  if not place then return {} end
  local stored = tonumber(redis.call('ZSCORE', w.zset, item) or 0)
  local before, own, after = {}, { { item, 0, points_of(w, stored), 0, 0 } }, {}
  local first, last
  if stored ~= 0 then first, last = tie_at(w, redis.call('ZRANK', w.zset, item)) end
  if stored == 0 or walks(w, last - first + 1, 2 * span + 1) then
    before = reversed(walk_tie(w, own[1][3], place - 1, -1, 0, span))
    after = walk_tie(w, own[1][3], place + 1, 1, 0, span)
  elseif first < last then
    own = {}
    read_places(w, first, last, own)
  end
  if stored ~= 0 then
    local part_first = stored < 0 and 0 or w.above
    local part_last = stored < 0 and w.above - 1 or w.total - w.zeros - 1
    local higher = {}
    stored_range(w, math.max(part_first, first - span + #before), first - 1, higher)
    append(higher, before)
    before = higher
    stored_range(w, last + 1, math.min(part_last, last + span - #after), after)
  end
  if stored > 0 and #before < span then
    local zeros = reversed(walk_tie(w, 0, w.total - 1, -1, 0, span - #before))
    append(zeros, before)
    before = zeros
  end
  if stored >= 0 and #before < span then
    local positive = {}
    stored_range(w, math.max(0, w.above - span + #before), w.above - 1, positive)
    append(positive, before)
    before = positive
  end
  if stored < 0 and #after < span then append(after, walk_tie(w, 0, 0, 1, 0, span - #after)) end
  if stored <= 0 and #after < span then stored_range(w, w.above, w.above + span - #after - 1, after) end
  append(before, own)
  append(before, after)
  return before
end

local function some(w, ids)
  local rows = {}
  if #ids == 0 then return rows end
  local stored = redis.call('ZMSCORE', w.zset, unpack(ids))
  local listed = redis.call('ZMSCORE', w.list, unpack(ids))
  for n, id in ipairs(ids) do
    if listed[n] then rows[#rows + 1] = { id, 0, points_of(w, tonumber(stored[n] or 0)), 0, 0 } end
  end
  return rows
end

-- Ranks and counts, which the rows still lack. In a stretch of the ranking places give the ranks; elsewhere each new
-- score is looked up. The order inside a tie is left to the caller: Lua compares strings by the server's locale.
local function complete(w, rows, offset)
  local ids = {}
  local rank
  for n, row in ipairs(rows) do
    ids[n] = row[1]
    if n == 1 or row[3] ~= rows[n - 1][3] then
      rank = offset and n > 1 and offset + n or rank_of(w, row[3])
    end
    row[2] = rank
  end
  -- In portions that Lua's stack can take: a tie can be of any size.
  for first = 1, #ids, 3000 do
    local counts = redis.call('HMGET', key('i', w.board), unpack(ids, first, math.min(first + 2999, #ids)))
    for n, packed in ipairs(counts) do
      local known = cmsgpack.unpack(packed)
      local row = rows[first + n - 1]
      row[4], row[5] = known[2], known[3]
    end
  end
  return rows
end

local meta = redis.call('HMGET', meta_key, 'epoch', 'seq', 'ready', 'readable')
if not meta[1] or not (meta[3] or meta[4]) then return cmsgpack.pack({ '', 0, {} }) end

local views = {}
for n, view in ipairs(cmsgpack.unpack(ARGV[1])) do
  if looked_at > SHARE then break end
  local board, window, kind, a, b = unpack(view, 1, 5)
  local w = open_window(board, window)
  if w then
    local rows
    local skip = 0
    if kind == 'top' then
      rows, skip = top(w, a, b)
      complete(w, rows, b - skip)
    elseif kind == 'around' then
      rows = complete(w, around(w, a, b))
    else
      rows = complete(w, some(w, a))
    end
    views[n] = { w.state.version, w.total, w.state.reference, rows, skip }
  else
    views[n] = false
  end
end
return cmsgpack.pack({ meta[1], tonumber(meta[2] or 0), views })

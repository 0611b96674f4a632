-- name: add_history(board, window, sampled_at, item_ids, points)!
-- Keeps how the first of a ranking stand, for charts.
insert into rank_history (board_id, time_window, sampled_at, hourly, items, points)
select :board::int, :window::text, :sampled_at::timestamptz,
       not exists (select 1 from rank_history h
                   where h.board_id = :board and h.time_window = :window and h.sampled_at < :sampled_at
                     and h.sampled_at >= date_trunc('hour', :sampled_at::timestamptz)),
       array_agg(i.id order by g.place), array_agg(g.points order by g.place)
from unnest(:item_ids::text[], :points::bigint[]) with ordinality as g (item_id, points, place)
join boards b on b.id = :board
join items i on i.tenant_id = b.tenant_id and i.item_type = b.item_type and i.item_id = g.item_id
having count(*) > 0
on conflict do nothing;

-- name: history(board, window, since, until, step)
-- How the first of a ranking stood over time: the last sample of each step of so many seconds, up to its end, and before
-- them the one that stood when the time began.
select distinct on (slot) greatest(ceil(extract(epoch from sampled_at - :since::timestamptz) / :step::float8) - 1, -1) as slot,
       sampled_at, items, points
from rank_history
where board_id = :board and time_window = :window and sampled_at <= :until
  and sampled_at >= coalesce((select max(sampled_at) from rank_history
                              where board_id = :board and time_window = :window and sampled_at <= :since), :since)
order by slot, sampled_at desc;

-- name: thin_history(shard, minutes_from, hours_from)!
-- Forgets a shard's samples of minutes, and those of hours, from before their moments; the latest of a ranking stays.
delete from rank_history h
using boards b, tenants t
where b.id = h.board_id and t.id = b.tenant_id and t.shard = :shard
  and (not h.hourly and h.sampled_at < :minutes_from or h.hourly and h.sampled_at < :hours_from)
  and exists (select 1 from rank_history newer
              where newer.board_id = h.board_id and newer.time_window = h.time_window
                and newer.sampled_at > h.sampled_at);

-- name: items_by_number(numbers)
-- What items are called.
select id, item_id, title, artist from items where id = any(:numbers::int[]);

-- name: number_on_board(board, item_id)$
-- The number of an item that is on a board.
select i.id from board_items bi join items i on i.id = bi.item_id
where bi.board_id = :board and i.item_id = :item_id;

-- name: comments(board, item, before, limit)
-- What agents say with their ballots on an item, newest first, from before a seq on.
select v.seq, v.value, v.voted_at, v.comment, a.agent_id
from votes v join agents a on a.id = v.agent_id
where v.board_id = :board and v.item_id = :item and v.comment <> ''
  and v.seq < coalesce(:before::bigint, 9223372036854775807)
order by v.seq desc
limit :limit::int;

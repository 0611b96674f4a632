-- name: add_board(tenant, slug, title, item_type, ballot, minimum, maximum, ballots_change, windows, opens_at, closes_at, weights)^
-- A new board; nothing where the slug is taken.
insert into boards (tenant_id, slug, title, item_type, ballot, minimum, maximum, ballots_change, windows,
                    opens_at, closes_at, weights)
values (:tenant, :slug, :title, :item_type, :ballot, :minimum, :maximum, :ballots_change, :windows::text[],
        :opens_at, :closes_at, :weights::jsonb)
on conflict (tenant_id, slug) do nothing
returning id;

-- name: list_boards(tenant)
-- The boards of a tenant with their shard, oldest first.
select b.id, b.tenant_id, t.shard, b.slug, b.title, b.item_type, b.ballot, b.minimum, b.maximum, b.ballots_change,
       b.windows, b.opens_at, b.closes_at, b.weights::text as weights
from boards b join tenants t on t.id = b.tenant_id
where b.tenant_id = :tenant
order by b.id;

-- name: boards_of_shard(shard)
-- Every board of a shard.
select b.id, b.tenant_id, t.shard, b.slug, b.title, b.item_type, b.ballot, b.minimum, b.maximum, b.ballots_change,
       b.windows, b.opens_at, b.closes_at, b.weights::text as weights
from boards b join tenants t on t.id = b.tenant_id
where t.shard = :shard
order by b.id;

-- name: add_board_items(board, tenant, item_type, item_ids)
-- Puts items on a board by their ids; answers those that were not there yet.
with added as (
    insert into board_items (board_id, item_id)
    select :board, i.id from items i
    where i.tenant_id = :tenant and i.item_type = :item_type and i.item_id = any(:item_ids::text[])
    on conflict do nothing
    returning item_id
)
select i.id, i.item_id, i.title, i.artist from added join items i on i.id = added.item_id;

-- name: known_items(tenant, item_type, item_ids)
-- Which of these items a tenant has.
select item_id from items where tenant_id = :tenant and item_type = :item_type and item_id = any(:item_ids::text[]);

-- name: items_of_shard(shard)
-- Every item on a board of a shard, without its counts.
select bi.board_id, i.id, i.item_type, i.item_id, i.title, i.artist
from board_items bi
join items i on i.id = bi.item_id
join boards b on b.id = bi.board_id
join tenants t on t.id = b.tenant_id
where t.shard = :shard
order by bi.board_id, i.id;

-- name: count_items(shard)
-- How many items each board of a shard has.
select b.id as board_id, (select count(*) from board_items bi where bi.board_id = b.id) as items
from boards b join tenants t on t.id = b.tenant_id
where t.shard = :shard;

-- name: my_votes(agent, limit, offset)
-- An agent's ballots, newest first.
select b.slug, b.ballot, b.item_type, i.item_id, i.title, i.artist, v.value, v.seq, v.voted_at, v.comment,
       count(*) over () as total
from votes v
join boards b on b.id = v.board_id
join items i on i.id = v.item_id
where v.agent_id = :agent
order by v.voted_at desc, v.seq desc
limit :limit::int offset :offset::int;

-- name: add_sample(board, window, sampled_at, items, ranks, points)!
-- Keeps a board's first ranks as of a moment.
insert into rank_samples (board_id, time_window, sampled_at, items, ranks, points)
values (:board, :window, :sampled_at, :items::text[], :ranks::int[], :points::bigint[])
on conflict do nothing;

-- name: find_samples(boards, windows, moments)
-- Ranks of boards, each as of a moment; `place` counts the boards asked for, from 1.
select w.place, s.items, s.ranks
from unnest(:boards::int[], :windows::text[], :moments::timestamptz[])
    with ordinality as w (board, time_window, sampled_at, place)
join rank_samples s on s.board_id = w.board and s.time_window = w.time_window and s.sampled_at = w.sampled_at;

-- name: latest_samples(shard, at)
-- For each board of a shard the latest sample at or before a moment: what movement is counted from then.
select distinct on (s.board_id) s.board_id, s.sampled_at
from rank_samples s
join boards b on b.id = s.board_id
join tenants t on t.id = b.tenant_id
where t.shard = :shard and s.sampled_at <= :at
order by s.board_id, s.sampled_at desc;

-- name: drop_samples(shard, before)!
-- Forgets a shard's samples from before a moment, but for the latest of each board.
delete from rank_samples s
using boards b, tenants t
where b.id = s.board_id and t.id = b.tenant_id and t.shard = :shard and s.sampled_at < :before
  and exists (select 1 from rank_samples newer
              where newer.board_id = s.board_id and newer.sampled_at > s.sampled_at and newer.sampled_at <= :before);

-- name: flush_position(shard)^
-- The live state that a shard's log is read from, and its last seq that the archive has; no row for a new shard.
select epoch, seq from flush_positions where shard = :shard;

-- name: move_position(seq, shard, epoch, expected)$
-- Moves a shard's position on, if it is where it was thought to be; answers the new seq or nothing.
update flush_positions set seq = :seq, flushed_at = now()
where shard = :shard and epoch = :epoch and seq = :expected
returning seq;

-- name: lock_position(shard)^
-- The same, kept as it is until the transaction ends.
select epoch, seq from flush_positions where shard = :shard for update;

-- name: set_position(shard, epoch, seq)!
-- Lets a shard's log be read from a new live state.
insert into flush_positions (shard, epoch, seq) values (:shard, :epoch, :seq)
on conflict (shard) do update set epoch = excluded.epoch, seq = excluded.seq, flushed_at = now();

-- name: find_epoch(shard, epoch)^
-- What is known of a live state; no row for one that this archive has never seen.
select resumes, told, settled from epochs where shard = :shard and epoch = :epoch;

-- name: continues(shard, since, epoch)$
-- Whether a live state is an earlier one under new names, and was never rebuilt between.
with recursive chain as (
    select epoch, resumes from epochs where shard = :shard and epoch = :epoch
    union
    select e.epoch, e.resumes from chain c join epochs e on e.shard = :shard and e.epoch = c.resumes
)
select exists (select 1 from chain where epoch = :since);

-- name: tell_epoch(shard, epoch, told)!
-- Notes up to which event votes were acknowledged in a live state that is known.
update epochs set told = greatest(told, :told) where shard = :shard and epoch = :epoch;

-- name: plan_epoch(shard, epoch, resumes)!
-- Notes a live state before there is one.
insert into epochs (shard, epoch, resumes) values (:shard, :epoch, :resumes) on conflict do nothing;

-- name: settle_epoch(shard, epoch, settled)!
-- Closes the account of a live state, or moves it on.
insert into epochs (shard, epoch, told, settled) values (:shard, :epoch, :settled, :settled)
on conflict (shard, epoch) do update
set told = greatest(epochs.told, excluded.told), settled = greatest(epochs.settled, excluded.settled);

-- name: accompanied()$
-- Whether another process of ours uses this database.
select exists (
    select 1 from pg_stat_activity
    where datname = current_database()
      and application_name like 'plaudit %'
      and application_name <> current_setting('application_name')
);

-- name: last_event_at(shard)$
-- When a shard's last event happened, null where it has none.
select at from vote_events where shard = :shard order by seq desc limit 1;

-- name: stage_events()!
-- Where a batch of events waits inside its transaction; it never reaches the disk.
create temporary table if not exists staged_events (like vote_events) on commit delete rows;

-- name: append_events()!
-- Staged events into the log table.
insert into vote_events select * from staged_events;

-- name: upsert_ballots()!
-- The last state of every ballot that the staged events touch.
insert into votes (agent_id, board_id, item_id, value, weight, seq, voted_at, comment)
select agent_id, board_id, item_id, value, weight, seq, at, comment
from (select distinct on (agent_id, board_id, item_id) * from staged_events
      order by agent_id, board_id, item_id, seq desc) latest
where value is not null
on conflict (agent_id, board_id, item_id) do update
set value = excluded.value, weight = excluded.weight, seq = excluded.seq, voted_at = excluded.voted_at,
    comment = excluded.comment;

-- name: delete_ballots()!
-- Ballots whose last staged event retracted them.
delete from votes v
using (select distinct on (agent_id, board_id, item_id) agent_id, board_id, item_id, value from staged_events
       order by agent_id, board_id, item_id, seq desc) latest
where latest.value is null and v.agent_id = latest.agent_id and v.board_id = latest.board_id
  and v.item_id = latest.item_id;

-- name: add_counts()!
-- What the staged events add to their items' counts.
update board_items b
set up_votes = b.up_votes + s.up, down_votes = b.down_votes + s.down, points = b.points + s.points
from (select board_id, item_id, sum(points) as points,
             sum((coalesce(value, 0) > 0)::int - (coalesce(previous, 0) > 0)::int) as up,
             sum((coalesce(value, 0) < 0)::int - (coalesce(previous, 0) < 0)::int) as down
      from staged_events group by board_id, item_id) s
where b.board_id = s.board_id and b.item_id = s.item_id;

-- name: recount(boards, days, weeks, months, shown, shard, seq, since)
-- Every item of a shard's boards: its counts as they are kept, and recomputed from its events from a moment on, up
-- to a seq. trending: each event decayed, from its minute, by a half-life of six hours to
-- the minute that its board is shown as of. dropped: at most so much of it can the live store have dropped, which
-- forgets an item that comes to be shown as 0, and with it up to half a hundredth: an event may do that where others
-- took points away.
select bi.board_id, i.id, i.item_type, i.item_id, i.title, i.artist, bi.up_votes, bi.down_votes, bi.points,
       coalesce(e.up, 0) as up, coalesce(e.down, 0) as down, coalesce(e.moved, 0) as moved,
       coalesce(e.day, 0) as day, coalesce(e.week, 0) as week, coalesce(e.month, 0) as month,
       coalesce(e.trending, 0) as trending, coalesce(e.dropped, 0) as dropped
from board_items bi
join items i on i.id = bi.item_id
join unnest(:boards::int[], :days::timestamptz[], :weeks::timestamptz[], :months::timestamptz[],
            :shown::timestamptz[]) as w (board_id, day, week, month, shown) on w.board_id = bi.board_id
left join (
    select board_id, item_id,
           sum((coalesce(value, 0) > 0)::int - (coalesce(previous, 0) > 0)::int)::bigint as up,
           sum((coalesce(value, 0) < 0)::int - (coalesce(previous, 0) < 0)::int)::bigint as down,
           sum(points)::bigint as moved,
           coalesce(sum(points) filter (where at >= day), 0)::bigint as day,
           coalesce(sum(points) filter (where at >= week), 0)::bigint as week,
           coalesce(sum(points) filter (where at >= month), 0)::bigint as month,
           sum(points * power(2.0::double precision,
               greatest(extract(epoch from date_trunc('minute', at) - shown)::double precision / 21600.0, -1000))) as trending,
           case when bool_or(points < 0) then 0.5 * sum(power(2.0::double precision,
               greatest(extract(epoch from date_trunc('minute', at) - shown)::double precision / 21600.0, -1000)))
           end as dropped
    from vote_events
    join unnest(:boards::int[], :days::timestamptz[], :weeks::timestamptz[], :months::timestamptz[],
                :shown::timestamptz[]) as p (board, day, week, month, shown) on p.board = board_id
    where shard = :shard and seq <= :seq and at >= :since
    group by board_id, item_id
) e on e.board_id = bi.board_id and e.item_id = bi.item_id
order by bi.board_id, i.item_id;

-- name: ballots_of_shard(boards)
-- Ballots as they stand on some boards, a row an agent and board.
select v.board_id, v.agent_id, array_agg(v.item_id) as items, array_agg(v.value) as ballot_values,
       array_agg(v.weight) as weights
from votes v
where v.board_id = any(:boards::int[])
group by v.agent_id, v.board_id
order by v.agent_id, v.board_id;

-- name: ballots_of_agents(board, agents)
-- The same of some agents on one board.
select v.agent_id, array_agg(v.item_id) as items, array_agg(v.value) as ballot_values, array_agg(v.weight) as weights
from votes v
where v.board_id = :board and v.agent_id = any(:agents::int[])
group by v.agent_id;

-- name: stray_ballots(shard, board, limit)
-- Ballots of a board that are not what their last event says: who, on what, as kept and as told.
select coalesce(v.agent_id, e.agent_id) as agent_id, i.item_id,
       case when v.seq is null then 'none' else v.value || ' at ' || v.seq end as kept,
       case when e.value is null then 'none' else e.value || ' at ' || e.seq end as told
from (select distinct on (agent_id, item_id) agent_id, item_id, value, weight, seq
      from vote_events where shard = :shard and board_id = :board
      order by agent_id, item_id, seq desc) e
full join (select * from votes where board_id = :board) v on v.agent_id = e.agent_id and v.item_id = e.item_id
join items i on i.id = coalesce(v.item_id, e.item_id)
where (v.value, v.weight, v.seq) is distinct from
      (e.value, case when e.value is not null then e.weight end, case when e.value is not null then e.seq end)
order by 1, 2
limit :limit;

-- name: quotas_used(shard, since)
-- Votes that agents have used since a moment.
select e.agent_id, count(*)::int as used
from vote_events e
where e.shard = :shard and e.at >= :since and e.value is not null
group by e.agent_id;

-- name: kept_at(shard, board, seq, items)
-- The kept counts of some items of a board, less what came after a seq.
select i.item_id, bi.up_votes - coalesce(e.up, 0) as up, bi.down_votes - coalesce(e.down, 0) as down,
       bi.points - coalesce(e.points, 0) as points
from board_items bi
join items i on i.id = bi.item_id
left join (
    select item_id, sum(points)::bigint as points,
           sum((coalesce(value, 0) > 0)::int - (coalesce(previous, 0) > 0)::int)::bigint as up,
           sum((coalesce(value, 0) < 0)::int - (coalesce(previous, 0) < 0)::int)::bigint as down
    from vote_events
    where shard = :shard and seq > :seq and board_id = :board
    group by item_id
) e on e.item_id = bi.item_id
where bi.board_id = :board and i.item_id = any(:items::text[]);

-- migrate:up

-- What was said about an item, newest first. Only ballots that carry words are in it.
create index votes_comments on votes (board_id, item_id, seq desc) where comment <> '';

-- How the first of a board stood at a moment, for charts. Items stand in ranking order, so that their ranks follow
-- from their points. The first sample of an hour is kept longer than the others.
create table rank_history (
    board_id integer not null references boards,
    time_window text not null,
    sampled_at timestamptz not null,
    hourly boolean not null,
    items integer[] not null,
    points bigint[] not null,
    primary key (board_id, time_window, sampled_at)
);
create index rank_history_age on rank_history (hourly, sampled_at);

-- migrate:down

drop table rank_history;
drop index votes_comments;

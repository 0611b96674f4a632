-- migrate:up

create extension if not exists pg_trgm;

create table tenants (
    id integer generated always as identity primary key,
    slug text not null unique,
    shard smallint not null,
    created_at timestamptz not null default now()
);

create table agents (
    id integer generated always as identity primary key,
    tenant_id integer not null references tenants,
    agent_id text collate "C" not null,
    tier text not null check (tier in ('free', 'pro', 'enterprise')),
    reputation_score double precision not null default 0,
    created_at timestamptz not null default now(),
    unique (tenant_id, agent_id)
);

-- A key without an agent is the tenant's admin key. Only its SHA-256 is kept: keys are random, so
-- a fast hash is enough, and it can be looked up.
create table api_keys (
    id integer generated always as identity primary key,
    tenant_id integer not null references tenants,
    agent_id integer references agents,
    hash bytea not null unique,
    from_settings boolean not null default false,
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
create index api_keys_agent on api_keys (agent_id);

-- Songs and tools share their number and what every ranking shows of them.
create table items (
    id integer generated always as identity primary key,
    tenant_id integer not null references tenants,
    item_type text not null check (item_type in ('song', 'tool')),
    item_id text collate "C" not null,
    title text not null,
    artist text,
    created_at timestamptz not null default now(),
    searchable text not null generated always as (lower(title || ' ' || coalesce(artist, ''))) stored,
    unique (tenant_id, item_type, item_id)
);
create index items_searchable on items using gin (searchable gin_trgm_ops);
create index items_newest on items (tenant_id, item_type, id desc);

create table songs (
    id integer primary key references items on delete cascade,
    platform text not null,
    platform_url text not null,
    genre text,
    mood text,
    tempo double precision
);

create table tools (
    id integer primary key references items on delete cascade,
    website text not null,
    affiliate_link text,
    commission_rate double precision,
    category text,
    features text[],
    pricing text
);

-- weights: tier -> hundredths of a vote, null where every tier counts fully.
create table boards (
    id integer generated always as identity primary key,
    tenant_id integer not null references tenants,
    slug text collate "C" not null,
    title text not null,
    item_type text not null check (item_type in ('song', 'tool')),
    ballot text not null check (ballot in ('updown', 'points', 'stars', 'like')),
    minimum smallint not null,
    maximum smallint not null check (maximum >= minimum),
    ballots_change boolean not null default false,
    windows text[] not null,
    opens_at timestamptz,
    closes_at timestamptz check (closes_at > opens_at),
    weights jsonb,
    created_at timestamptz not null default now(),
    unique (tenant_id, slug)
);

-- How an item stands on a board: the sum of its events, kept by the flusher. points are hundredths.
create table board_items (
    board_id integer not null references boards,
    item_id integer not null references items,
    up_votes integer not null default 0,
    down_votes integer not null default 0,
    points bigint not null default 0,
    score numeric generated always as (points / 100.0) stored,
    added_at timestamptz not null default now(),
    primary key (board_id, item_id)
) with (fillfactor = 70);
create index board_items_item on board_items (item_id);

-- The ballot as it stands. Written by the flusher alone; foreign keys would cost three look-ups a
-- vote and the numbers come from the live store, which took them from the tables above.
create table votes (
    agent_id integer not null,
    board_id integer not null,
    item_id integer not null,
    value smallint not null,
    weight smallint not null,
    seq bigint not null,
    voted_at timestamptz not null,
    comment text,
    primary key (agent_id, board_id, item_id)
) with (fillfactor = 90);

-- Every vote that changed something, append-only. The flusher makes a partition a month.
-- value null: retracted; previous null: there was no ballot; points: what the score moved by.
create table vote_events (
    shard smallint not null,
    seq bigint not null,
    at timestamptz not null,
    board_id integer not null,
    item_id integer not null,
    agent_id integer not null,
    weight smallint not null,
    points integer not null,
    value smallint,
    previous smallint,
    comment text,
    primary key (shard, seq, at)
) partition by range (at);
create table vote_events_other partition of vote_events default;

-- How far the log of a shard is in the tables above, and of which live state: what an abandoned one still
-- holds must not come in.
create table flush_positions (
    shard smallint primary key,
    epoch text not null,
    seq bigint not null,
    flushed_at timestamptz not null default now()
);

-- Ranks of a board's first items at a moment: what movement is counted from.
create table rank_samples (
    board_id integer not null references boards,
    time_window text not null,
    sampled_at timestamptz not null,
    items text[] not null,
    ranks integer[] not null,
    points bigint[] not null,
    primary key (board_id, time_window, sampled_at)
);

-- migrate:down

drop table rank_samples, flush_positions, vote_events, votes, board_items, boards, tools, songs, items,
    api_keys, agents, tenants;

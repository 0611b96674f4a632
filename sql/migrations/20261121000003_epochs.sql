-- migrate:up

-- The live states that a shard has gone on in, so that none of their votes can be missing without a word.
--   resumes  the live state that this one is, under a new name, after the store was restarted or replaced
--   told     the last event that any server knows to have been acknowledged
--   settled  null while the shard goes on in it; then the event up to which each is kept, or was reported as lost
create table epochs (
    shard smallint not null,
    epoch text not null,
    resumes text,
    told bigint not null default 0,
    settled bigint,
    primary key (shard, epoch)
);
insert into epochs (shard, epoch) select shard, epoch from flush_positions;

-- migrate:down

drop table epochs;

-- name: add_items(tenant, item_type, item_ids, titles, artists)
-- New songs or tools, all at once.
insert into items (tenant_id, item_type, item_id, title, artist)
select :tenant, :item_type, * from unnest(:item_ids::text[], :titles::text[], :artists::text[])
returning id, item_id, created_at;

-- name: add_songs(ids, platforms, urls, genres, moods, tempos)!
-- What only songs have, for items that were just added.
insert into songs (id, platform, platform_url, genre, mood, tempo)
select * from unnest(:ids::int[], :platforms::text[], :urls::text[], :genres::text[], :moods::text[],
                     :tempos::double precision[]);

-- name: add_tool(id, website, affiliate_link, commission_rate, category, features, pricing)!
-- What only a tool has, for an item that was just added.
insert into tools (id, website, affiliate_link, commission_rate, category, features, pricing)
values (:id, :website, :affiliate_link, :commission_rate, :category, :features::text[], :pricing);

-- name: search_items(tenant, item_type, q, pattern, limit, offset)^
-- How many songs or tools a tenant has, and the numbers of a page of them, newest first; of those that resemble a text,
-- where there is one, the most similar first. One select for both could not use the index once its plan is kept.
with alike as (
  select id, 0 as likeness
  from items
  where tenant_id = :tenant and item_type = :item_type and :q::text is null
  union all
  select id, greatest(word_similarity(lower(:q), searchable), (searchable like lower(:pattern))::int)
  from items
  where tenant_id = :tenant and item_type = :item_type
    and (lower(:q) <% searchable or searchable like lower(:pattern))
)
select count(*) as total,
       array(select id from alike order by likeness desc, id desc limit :limit::int offset :offset::int) as ids
from alike;

-- name: songs_of(ids)
-- Songs by their numbers, in that order.
select i.item_id, i.title, i.artist, i.created_at, s.platform, s.platform_url, s.genre, s.mood, s.tempo
from unnest(:ids::int[]) with ordinality as wanted (id, place)
join items i using (id)
join songs s using (id)
order by wanted.place;

-- name: tools_of(ids)
-- Tools by their numbers, in that order.
select i.item_id, i.title, i.created_at, t.website, t.affiliate_link, t.commission_rate, t.category, t.features,
       t.pricing
from unnest(:ids::int[]) with ordinality as wanted (id, place)
join items i using (id)
join tools t using (id)
order by wanted.place;

-- name: find_song(tenant, item_id)^
-- One song of a tenant.
select i.item_id, i.title, i.artist, i.created_at, s.platform, s.platform_url, s.genre, s.mood, s.tempo
from items i join songs s on s.id = i.id
where i.tenant_id = :tenant and i.item_type = 'song' and i.item_id = :item_id;

-- name: find_tool(tenant, item_id)^
-- One tool of a tenant.
select i.item_id, i.title, i.created_at, t.website, t.affiliate_link, t.commission_rate, t.category, t.features,
       t.pricing
from items i join tools t on t.id = i.id
where i.tenant_id = :tenant and i.item_type = 'tool' and i.item_id = :item_id;

-- name: standings_of(tenant, item_type, item_ids)
-- How items stand on every board that has them.
select i.item_id, b.slug, bi.up_votes, bi.down_votes, bi.points
from board_items bi
join boards b on b.id = bi.board_id
join items i on i.id = bi.item_id
where i.tenant_id = :tenant and i.item_type = :item_type and i.item_id = any(:item_ids::text[])
order by b.id;

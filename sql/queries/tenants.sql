-- name: list_tenants()
-- Every tenant of the installation.
select id, slug, shard from tenants order by id;

-- name: find_tenant(slug)^
-- One tenant by its slug.
select id, slug, shard from tenants where slug = :slug;

-- name: add_tenant(slug, shards)^
-- A new tenant on the next shard in turn; nothing where the slug is taken.
insert into tenants (slug, shard)
select :slug, (select count(*) from tenants) % :shards::int
on conflict (slug) do nothing
returning id, slug, shard;

-- name: find_key(hash)^
-- Who a key speaks for, by the key's hash. No row for an unknown or revoked key.
select k.id as key_id, k.hash, t.id as tenant_id, t.slug, t.shard,
       a.id as agent, a.agent_id, a.tier, a.reputation_score
from api_keys k
join tenants t on t.id = k.tenant_id
left join agents a on a.id = k.agent_id
where k.hash = :hash and k.revoked_at is null;

-- name: add_key(tenant, agent, hash, from_settings)$
-- A further key of an agent (of the tenant itself where agent is null), or one of its own again; answers its id,
-- null where the key is somebody else's. One that was revoked stays so, unless it is in the settings again.
insert into api_keys (tenant_id, agent_id, hash, from_settings)
values (:tenant, :agent, :hash, :from_settings)
on conflict (hash) do update
set revoked_at = case when excluded.from_settings then null else api_keys.revoked_at end,
    from_settings = api_keys.from_settings or excluded.from_settings
where api_keys.tenant_id = excluded.tenant_id and api_keys.agent_id is not distinct from excluded.agent_id
returning id;

-- name: lock_tenant(tenant)!
-- Makes others who ask for the same wait until this transaction ends.
select id from tenants where id = :tenant for update;

-- name: has_admin_key(tenant)$
-- Whether there is a key that administers the tenant.
select exists (select from api_keys where tenant_id = :tenant and agent_id is null and revoked_at is null);

-- name: revoke_key(key, tenant, agent_id)^
-- Ends a key of one agent; answers its hash, nothing where there is no such key or it is ended already.
update api_keys k set revoked_at = now()
from agents a
where k.id = :key and k.agent_id = a.id and a.tenant_id = :tenant and a.agent_id = :agent_id and k.revoked_at is null
returning k.id, k.hash;

-- name: admin_keys(tenant)
-- The keys that administer a tenant, oldest first.
select id, created_at, from_settings from api_keys
where tenant_id = :tenant and agent_id is null and revoked_at is null order by id;

-- name: revoke_admin_key(key, tenant)^
-- Ends a key that administers the tenant; answers its hash, nothing where there is no such key or it is ended already.
update api_keys set revoked_at = now()
where id = :key and tenant_id = :tenant and agent_id is null and revoked_at is null
returning hash, from_settings;

-- name: revoke_settings_keys(tenant, hash)
-- Ends the admin keys that earlier settings gave a tenant, but for the present one.
update api_keys set revoked_at = now()
where tenant_id = :tenant and from_settings and revoked_at is null and hash <> :hash
returning id, hash;

-- name: add_agents(tenant, agent_ids, tiers)
-- New agents of a tenant, all at once.
insert into agents (tenant_id, agent_id, tier)
select :tenant, * from unnest(:agent_ids::text[], :tiers::text[])
returning id, agent_id, tier, reputation_score;

-- name: add_agent_keys(tenant, agents, hashes)
-- First keys of new agents; answers the ids with the agents' numbers.
insert into api_keys (tenant_id, agent_id, hash)
select :tenant, * from unnest(:agents::int[], :hashes::bytea[])
returning id, agent_id;

-- name: find_agent(tenant, agent_id)^
-- One agent of a tenant.
select id, agent_id, tier, reputation_score from agents where tenant_id = :tenant and agent_id = :agent_id;

-- name: notify(channel, message)!
-- Tells every server that something they may have cached has changed.
select pg_notify(:channel, :message);

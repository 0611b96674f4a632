"""Who is who: tenants, agents, and keys of which only a hash is kept."""

from __future__ import annotations

import asyncio

import pytest

from storage.archive import Archive
from storage.directory import (
    BoardsChanged,
    Directory,
    KeyRevoked,
    Notice,
    decode_notice,
    hash_secret,
    new_secret,
)
from storage.errors import ArchiveUnavailable, Exists, NotFound
from storage.types import Agent, Tenant


@pytest.fixture
def directory(archive: Archive) -> Directory:
    return Directory(archive)


async def tenants(directory: Directory) -> tuple[Tenant, Tenant]:
    return (await directory.add_tenant("one", 4))[0], (await directory.add_tenant("two", 4))[0]


async def test_tenants_have_standing_boards_and_shards_in_turn(directory: Directory) -> None:
    made = [await directory.add_tenant(f"tenant-{n}", 2) for n in range(3)]
    assert [tenant.shard for tenant, _ in made] == [0, 1, 0]
    assert await directory.tenants() == [tenant for tenant, _ in made]
    assert await directory.tenant("tenant-1") == made[1][0]
    assert await directory.tenant("nobody") is None
    for tenant, boards in made:
        assert [(board.slug, board.item_type, board.tenant) for board in boards] == [
            ("songs", "song", tenant.number),
            ("tools", "tool", tenant.number),
        ]
        assert await directory.add_standing_boards(tenant) == []
    with pytest.raises(Exists):
        await directory.add_tenant("tenant-0", 2)
    assert len(await directory.tenants()) == 3


async def test_a_key_finds_its_agent_and_is_kept_as_a_hash(directory: Directory, archive: Archive) -> None:
    tenant, _ = await tenants(directory)
    issued = await directory.add_agents(tenant, [("ann", "free"), ("Bob é", "enterprise")])
    assert [(key.agent.agent_id, key.agent.tier) for key in issued] == [("ann", "free"), ("Bob é", "enterprise")]
    for key in issued:
        credential = await directory.find_key(key.secret)
        assert credential is not None
        assert (credential.key, credential.tenant, credential.agent) == (key.key, tenant, key.agent)
        assert await directory.find_hash(hash_secret(key.secret)) == credential
    for wrong in ("", new_secret(), issued[0].secret[:-1], issued[0].secret.upper()):
        assert await directory.find_key(wrong) is None
    async with archive.connection() as connection:
        rows = await connection.fetch("select * from api_keys")
    assert not any(key.secret in str(dict(row)) for row in rows for key in issued)


async def test_agents_are_added_all_or_none_and_belong_to_one_tenant(directory: Directory) -> None:
    one, two = await tenants(directory)
    await directory.add_agents(one, [("ann", "free")])
    for batch in ([("bob", "free"), ("ann", "pro")], [("bob", "free"), ("bob", "free")]):
        with pytest.raises(Exists):
            await directory.add_agents(one, batch)  # type: ignore[arg-type]  # tiers
    with pytest.raises(NotFound):
        await directory.add_agent_key(one, "bob")
    (other,) = await directory.add_agents(two, [("ann", "pro")])
    assert other.agent == Agent(other.agent.number, "ann", "pro")
    (bob,) = await directory.add_agents(one, [("bob", "free")])
    assert bob.agent.number != other.agent.number


async def test_a_further_key_works_until_it_is_revoked(directory: Directory) -> None:
    one, two = await tenants(directory)
    (first,) = await directory.add_agents(one, [("ann", "free")])
    await directory.add_agents(two, [("ann", "free")])
    second = await directory.add_agent_key(one, "ann")
    assert second.agent == first.agent
    for tenant, agent_id, key in ((two, "ann", second.key), (one, "bob", second.key), (one, "ann", 10**6)):
        with pytest.raises(NotFound):
            await directory.revoke_key(tenant, agent_id, key)
    assert await directory.revoke_key(one, "ann", second.key) == hash_secret(second.secret)
    assert await directory.find_key(second.secret) is None
    assert await directory.find_key(first.secret) is not None
    with pytest.raises(NotFound):
        await directory.revoke_key(one, "ann", second.key)


async def test_an_admin_key_from_the_settings_replaces_the_one_before(directory: Directory) -> None:
    one, two = await tenants(directory)
    made, first, second = (new_secret() for _ in range(3))
    assert await directory.add_admin_key(one, made) == []
    assert await directory.add_admin_key(one, first, from_settings=True) == []
    assert await directory.add_admin_key(one, first, from_settings=True) == []
    assert await directory.add_admin_key(one, second, from_settings=True) == [hash_secret(first)]
    assert await directory.find_key(first) is None
    for secret in (made, second):
        credential = await directory.find_key(secret)
        assert credential is not None
        assert (credential.tenant, credential.agent) == (one, None)
    assert await directory.add_admin_key(one, first, from_settings=True) == [hash_secret(second)]
    assert await directory.find_key(first) is not None
    with pytest.raises(Exists):
        await directory.add_admin_key(two, first, from_settings=True)
    (agent,) = await directory.add_agents(one, [("ann", "free")])
    with pytest.raises(Exists):
        await directory.add_admin_key(one, agent.secret, from_settings=True)
    assert await directory.find_key(first) is not None


async def test_every_server_hears_of_revoked_keys_and_changed_boards(directory: Directory, archive: Archive) -> None:
    tenant, _ = await tenants(directory)
    (issued,) = await directory.add_agents(tenant, [("ann", "free")])
    heard: asyncio.Queue[Notice] = asyncio.Queue()
    async with (
        archive.listen(lambda text: heard.put_nowait(decode_notice(text))) as lost,
        asyncio.timeout(10),
    ):
        await directory.notify(BoardsChanged(tenant.number, tenant.shard))
        assert await heard.get() == BoardsChanged(tenant.number, tenant.shard)
        await directory.revoke_key(tenant, "ann", issued.key)
        assert await heard.get() == KeyRevoked(hash_secret(issued.secret))
        assert not lost.is_set()
        async with archive.connection() as connection:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where query like 'LISTEN%' or query = 'select 1'"
            )
        await lost.wait()


async def test_an_archive_that_is_away_is_one_of_our_own_errors() -> None:
    with pytest.raises(ArchiveUnavailable, match="PostgreSQL does not answer"):
        await Archive("postgresql://nobody@127.0.0.1:1/none").__aenter__()

"""The default tenant's admin key: made once, kept by whoever made it, and never handed out by a second server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.settings import Settings
from app.tenants import ADMIN_KEY_FILE, default_tenant, kept_secret
from storage.archive import Archive
from storage.directory import Directory
from storage.errors import Exists


async def test_a_second_server_with_a_folder_of_its_own_makes_no_second_key(database_url: str, tmp_path: Path) -> None:
    first, second = Settings(data=tmp_path / "first"), Settings(data=tmp_path / "second")
    async with Archive(database_url) as archive:
        tenant, key = await default_tenant(archive, first)
        assert key == kept_secret(first.data, ADMIN_KEY_FILE)
        with capture_logs() as logs:
            assert await default_tenant(archive, second) == (tenant, None)
        [warning] = logs
        assert warning["log_level"] == "warning"
        assert "PLAUDIT_ADMIN_KEY" in warning["event"]
        assert kept_secret(second.data, ADMIN_KEY_FILE) is None
        # The first one goes on with its own.
        assert await default_tenant(archive, first) == (tenant, key)


async def test_a_key_from_the_settings_is_taken_beside_it(database_url: str, tmp_path: Path) -> None:
    given = Settings(data=tmp_path / "second", admin_key="a-key-that-somebody-chose")
    async with Archive(database_url) as archive:
        tenant, key = await default_tenant(archive, Settings(data=tmp_path / "first"))
        assert await default_tenant(archive, given) == (tenant, given.admin_key)
        for secret in (key, given.admin_key):
            assert secret is not None
            found = await Directory(archive).find_key(secret)
            assert found is not None
            assert (found.tenant, found.agent) == (tenant, None)


async def test_of_many_that_start_at_once_one_makes_the_key(database_url: str, tmp_path: Path) -> None:
    async with Archive(database_url) as archive:
        starts = (default_tenant(archive, Settings(data=tmp_path / str(number))) for number in range(8))
        keys = [key for _, key in await asyncio.gather(*starts)]
        async with archive.connection() as connection:
            count = await connection.fetchval("select count(*) from api_keys")
    assert len([key for key in keys if key is not None]) == count == 1


async def test_a_key_that_was_revoked_is_not_good_again_because_it_is_in_a_file(
    database_url: str, tmp_path: Path
) -> None:
    folder = Settings(data=tmp_path)
    async with Archive(database_url) as archive:
        directory = Directory(archive)
        tenant, first = await default_tenant(archive, folder)
        _, further = await directory.issue_admin_key(tenant)
        (number, _) = [key.number for key in await directory.admin_keys(tenant)]
        await directory.revoke_admin_key(tenant, number)
        # Somebody has another one.
        assert await default_tenant(archive, folder) == (tenant, None)
        (other,) = await directory.admin_keys(tenant)
        await directory.revoke_admin_key(tenant, other.number)
        # Nobody has.
        _, anew = await default_tenant(archive, folder)
        assert anew is not None
        assert anew == kept_secret(tmp_path, ADMIN_KEY_FILE)
        assert first is not None
        assert [await directory.find_key(key) is not None for key in (first, further, anew)] == [False, False, True]
        # In the settings it is somebody's wish.
        await default_tenant(archive, Settings(data=tmp_path, admin_key=first))
        assert await directory.find_key(first) is not None


async def test_a_key_that_came_into_the_settings_later_ends_with_them(database_url: str, tmp_path: Path) -> None:
    async with Archive(database_url) as archive:
        directory = Directory(archive)
        tenant, _ = await default_tenant(archive, Settings(data=tmp_path))
        number, issued = await directory.issue_admin_key(tenant)
        await default_tenant(archive, Settings(data=tmp_path, admin_key=issued))
        assert [key.number for key in await directory.admin_keys(tenant) if key.from_settings] == [number]
        with capture_logs() as logs:
            await default_tenant(archive, Settings(data=tmp_path, admin_key="a-key-that-somebody-chose"))
        assert await directory.find_key(issued) is None
        assert [entry["keys"] for entry in logs] == [1]


async def test_another_tenants_key_makes_no_tenant(database_url: str, tmp_path: Path) -> None:
    async with Archive(database_url) as archive:
        directory = Directory(archive)
        tenant, key = await default_tenant(archive, Settings(data=tmp_path))
        with pytest.raises(Exists, match=f"{ADMIN_KEY_FILE} belongs to the tenant 'default'"):
            await default_tenant(archive, Settings(data=tmp_path, tenant="other"))
        (agent,) = await directory.add_agents(tenant, [("owl", "free")])
        for secret, owner in ((key, "the tenant 'default'"), (agent.secret, "an agent of the tenant 'default'")):
            given = Settings(data=tmp_path / "else", tenant="other", admin_key=secret)
            with pytest.raises(Exists, match=f"PLAUDIT_ADMIN_KEY belongs to {owner}"):
                await default_tenant(archive, given)
        assert await directory.tenants() == [tenant]

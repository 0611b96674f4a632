"""The default tenant's admin key: made once, kept by whoever made it, and never handed out by a second server."""

from __future__ import annotations

import asyncio
from pathlib import Path

from structlog.testing import capture_logs

from app.settings import Settings
from app.tenants import ADMIN_KEY_FILE, default_tenant, kept_secret
from storage.archive import Archive
from storage.directory import Directory


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

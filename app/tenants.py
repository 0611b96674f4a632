"""Making tenants, and the default one with its admin key, wherever that is asked for."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from app.settings import Settings
from storage.archive import Archive
from storage.directory import BoardsChanged, Directory, new_secret
from storage.errors import Exists
from storage.types import Tenant

ADMIN_KEY_FILE: Final = "admin.key"
DEMO_KEY_FILE: Final = "demo-agent.key"


async def add_tenant(directory: Directory, slug: str, shards: int) -> tuple[Tenant, str]:
    """A new tenant with its standing boards; answers it and its admin key. Raises Exists."""
    tenant, _ = await directory.add_tenant(slug, shards)
    secret = new_secret()
    await directory.add_admin_key(tenant, secret)
    await directory.notify(BoardsChanged(tenant.number, tenant.shard))
    return tenant, secret


async def default_tenant(archive: Archive, settings: Settings) -> tuple[Tenant, str]:
    """The installation's default tenant, made at the first start, and its admin key."""
    directory = Directory(archive)
    tenant = await directory.tenant(settings.tenant)
    if tenant is None:
        # Another server that starts at the same moment may have been faster.
        with contextlib.suppress(Exists):
            tenant, _ = await directory.add_tenant(settings.tenant, settings.shards)
        tenant = tenant or await directory.tenant(settings.tenant)
        assert tenant is not None
    secret = settings.admin_key or kept_secret(settings.data, ADMIN_KEY_FILE) or new_secret()
    await directory.add_admin_key(tenant, secret, from_settings=settings.admin_key is not None)
    if settings.admin_key is None:
        keep_secret(settings.data, ADMIN_KEY_FILE, secret)
    return tenant, secret


def kept_secret(folder: Path, name: str) -> str | None:
    """A key that an earlier start left in the data folder."""
    try:
        return (folder / name).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def keep_secret(folder: Path, name: str, secret: str) -> None:
    """Leaves a key in the data folder, for its owner's eyes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.touch(0o600)
    path.write_text(f"{secret}\n", encoding="utf-8")

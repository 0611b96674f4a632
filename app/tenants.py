"""Making tenants, and the default one with its admin key, wherever that is asked for."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import structlog

from app.settings import Settings
from storage.archive import Archive
from storage.directory import Directory, new_secret
from storage.errors import Exists
from storage.types import Tenant

ADMIN_KEY_FILE: Final = "admin.key"
DEMO_KEY_FILE: Final = "demo-agent.key"

log = structlog.get_logger(__name__)


async def add_tenant(directory: Directory, slug: str, shards: int) -> tuple[Tenant, str]:
    """A new tenant with its standing boards; answers it and its admin key. Raises Exists."""
    secret = new_secret()
    tenant, _ = await directory.add_tenant(slug, shards, secret)
    return tenant, secret


async def default_tenant(archive: Archive, settings: Settings) -> tuple[Tenant, str | None]:
    """The installation's default tenant, made at the first start, and its admin key.

    None stands for a key that another server of the installation made, and nobody gave to this one. Raises Exists for a
    key of another tenant's.
    """
    directory = Directory(archive)
    secret = settings.admin_key or kept_secret(settings.data, ADMIN_KEY_FILE)
    if secret is not None:
        await _check_owner(directory, settings, secret)
    tenant = await directory.tenant(settings.tenant)
    if tenant is None:
        # Another server that starts at the same moment may have been faster.
        with contextlib.suppress(Exists):
            tenant, _ = await directory.add_tenant(settings.tenant, settings.shards)
        tenant = tenant or await directory.tenant(settings.tenant)
        assert tenant is not None
    if secret is not None:
        ended = await directory.add_admin_key(tenant, secret, from_settings=settings.admin_key is not None)
        if ended:
            log.warning("PLAUDIT_ADMIN_KEY has changed: admin keys that it gave before are void now", keys=len(ended))
        if await directory.find_key(secret) is not None:
            return tenant, secret
        log.warning("the admin key in the data folder was revoked", folder=str(settings.data))
    return tenant, await _first_admin_key(directory, tenant, settings.data)


async def _check_owner(directory: Directory, settings: Settings, secret: str) -> None:
    """Before anything is made for a tenant that could then not be administered."""
    found = await directory.find_key(secret)
    if found is None or (found.agent is None and found.tenant.slug == settings.tenant):
        return
    key = "PLAUDIT_ADMIN_KEY" if settings.admin_key else f"the key in {settings.data / ADMIN_KEY_FILE}"
    owner = "the tenant" if found.agent is None else "an agent of the tenant"
    raise Exists(
        f"{key} belongs to {owner} {found.tenant.slug!r} in this database: "
        f"set PLAUDIT_ADMIN_KEY to a key of its own for {settings.tenant!r}."
    )


async def _first_admin_key(directory: Directory, tenant: Tenant, folder: Path) -> str | None:
    """A new key, where nobody has one: a second server must not hand out further ones without anybody's wish."""
    secret = new_secret()
    # Before the database knows it: a key that is in no file could never be used.
    keep_secret(folder, ADMIN_KEY_FILE, secret)
    if await directory.add_first_admin_key(tenant, secret):
        return secret
    missing = folder / ADMIN_KEY_FILE
    missing.unlink()
    log.warning(
        "this database has an admin key already, and this server does not know it: set PLAUDIT_ADMIN_KEY, "
        "or copy the file from the server that made it",
        file=str(missing),
    )
    return None


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

"""`plaudit tenant`."""

from __future__ import annotations

import click

from app.commands.common import load_settings, opened, run, with_tenant
from app.services import wall_clock
from app.settings import TENANT_SLUG
from app.tenants import add_tenant
from storage.directory import AdminKey, Directory
from storage.recovery import Recovery
from storage.types import Tenant


@click.group
def tenant() -> None:
    """Tenants: the customers of this installation."""


@tenant.command
@click.argument("slug")
def add(slug: str) -> None:
    """Add a tenant and print its admin key, which is shown this once."""
    try:
        TENANT_SLUG.read(slug)
    except ValueError:
        raise click.BadParameter(TENANT_SLUG.allowed) from None
    settings = load_settings()

    async def work() -> str:
        async with opened(settings) as (live, archive):
            made, secret = await add_tenant(Directory(archive), slug, settings.shards)
            await Recovery(live, archive, wall_clock).ensure(made.shard)
            return secret

    click.echo(run(work))


@tenant.command("list")
def list_() -> None:
    """List the tenants."""
    settings = load_settings()

    async def work() -> list[str]:
        async with opened(settings) as (_, archive):
            return [tenant.slug for tenant in await Directory(archive).tenants()]

    for slug in run(work):
        click.echo(slug)


@tenant.command
@click.argument("slug")
def key(slug: str) -> None:
    """Print a further admin key of a tenant; its number, for revoking, goes to standard error."""

    async def work(directory: Directory, of: Tenant) -> tuple[int, str]:
        return await directory.issue_admin_key(of)

    number, secret = with_tenant(slug, work)
    click.echo(f"key {number}", err=True)
    click.echo(secret)


@tenant.command
@click.argument("slug")
def keys(slug: str) -> None:
    """List the admin keys of a tenant: their numbers, and when they were made."""

    async def work(directory: Directory, of: Tenant) -> list[AdminKey]:
        return await directory.admin_keys(of)

    for one in with_tenant(slug, work):
        origin = "  from PLAUDIT_ADMIN_KEY" if one.from_settings else ""
        click.echo(f"{one.number:>6}  {one.created_at:%Y-%m-%d %H:%M} UTC{origin}")


@tenant.command
@click.argument("slug")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
def revoke(slug: str, number: int) -> None:
    """Revoke an admin key of a tenant, at once on every server.

    One that is still in PLAUDIT_ADMIN_KEY is good again when a server starts with it.
    """

    async def work(directory: Directory, of: Tenant) -> bool:
        return await directory.revoke_admin_key(of, number)

    from_settings = with_tenant(slug, work)
    click.echo(f"Admin key {number} of {slug} is void.")
    if from_settings:
        click.echo("It came from PLAUDIT_ADMIN_KEY: a server that starts with it there makes it good again.", err=True)

"""`plaudit tenant`."""

from __future__ import annotations

import click

from app.commands.common import load_settings, opened, run
from app.services import wall_clock
from app.settings import TENANT_SLUG
from app.tenants import add_tenant
from storage.directory import Directory
from storage.recovery import Recovery


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

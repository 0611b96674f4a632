"""`plaudit tenant`."""

from __future__ import annotations

import re

import click

from app.commands.common import load_settings, opened, run
from app.services import wall_clock
from app.tenants import add_tenant
from storage.directory import Directory
from storage.recovery import Recovery

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@click.group
def tenant() -> None:
    """Tenants: the customers of this installation."""


@tenant.command
@click.argument("slug")
def add(slug: str) -> None:
    """Add a tenant and print its admin key, which is shown this once."""
    if _SLUG.fullmatch(slug) is None:
        raise click.BadParameter("1 to 63 lower-case letters, digits and hyphens, the first not a hyphen")
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

"""`plaudit agent`."""

from __future__ import annotations

from typing import get_args

import click
import msgspec

from app.commands.common import with_tenant
from app.shapes.common import Name
from storage.directory import Directory, IssuedKey
from storage.errors import Exists
from storage.types import Tenant, Tier

_TENANT = click.option("--tenant", help="The tenant's slug; the default tenant's without it.")


def _checked(context: click.Context, argument: click.Parameter, given: str) -> str:  # noqa: ARG001  # click's signature
    """What an agent may be called is the same at every door."""
    try:
        return msgspec.convert(given, Name)
    except msgspec.ValidationError:
        raise click.BadParameter("an agent's id has 1 to 255 characters, none of them a control character") from None


@click.group
def agent() -> None:
    """Agents: who votes."""


@agent.command
@click.argument("agent_id", callback=_checked)
@click.option("--tier", type=click.Choice(get_args(Tier)), default="free", show_default=True)
@_TENANT
def add(agent_id: str, tier: Tier, tenant: str | None) -> None:
    """Add an agent and print its API key, which is shown this once."""

    async def work(directory: Directory, of: Tenant) -> IssuedKey:
        try:
            return (await directory.add_agents(of, [(agent_id, tier)]))[0]
        except Exists:
            raise Exists(f"There is an agent {agent_id!r} already.") from None

    click.echo(with_tenant(tenant, work).secret)


@agent.command
@click.argument("agent_id")
@_TENANT
def key(agent_id: str, tenant: str | None) -> None:
    """Print a further API key of an agent; its number, for revoking, goes to standard error."""

    async def work(directory: Directory, of: Tenant) -> IssuedKey:
        return await directory.add_agent_key(of, agent_id)

    issued = with_tenant(tenant, work)
    click.echo(f"key {issued.key}", err=True)
    click.echo(issued.secret)


@agent.command
@click.argument("agent_id")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@_TENANT
def revoke(agent_id: str, number: int, tenant: str | None) -> None:
    """Revoke one key of an agent, at once on every server."""

    async def work(directory: Directory, of: Tenant) -> None:
        await directory.revoke_key(of, agent_id, number)

    with_tenant(tenant, work)
    click.echo(f"Key {number} of {agent_id} is void.")

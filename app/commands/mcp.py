"""`plaudit mcp`."""

from __future__ import annotations

from importlib.metadata import version

import click

from app.commands.reaching import key_option, one_sentence, reach, url_option
from channels.http import PlauditHTTP


@click.command
@url_option
@key_option
def mcp(url: str | None, key: str | None) -> None:
    """Serve the boards and votes as tools to an AI agent, over the Model Context Protocol on stdin and stdout.

    Started by the agent's host, which docs/mcp.md shows how to set up. Votes are those of the key's agent.
    """
    try:
        from app.mcp import mcp_server  # noqa: PLC0415  # an extra, and slow to import
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in {"mcp", "pydantic"}:
            raise
        raise click.ClickException('This needs the extra "mcp": pip install "plaudit[mcp]".') from None
    server = reach(url)
    with one_sentence(server):
        plaudit = PlauditHTTP(server.url, server.agent_key(key))
    with plaudit:
        mcp_server(plaudit, version("plaudit")).run("stdio")

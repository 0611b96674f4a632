"""The command line: `plaudit`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import click

from app.commands.agent import agent
from app.commands.archive import migrate, rebuild, verify
from app.commands.board import boards, retract, top, vote
from app.commands.mcp import mcp
from app.commands.replay import replay
from app.commands.serve import serve
from app.commands.simulate import simulation
from app.commands.tenant import tenant
from app.commands.watch import watch

_INTERRUPTED = 130


class _Commands(click.Group):
    """Commands in the order given, ended by Ctrl-C as shells expect it."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(_INTERRUPTED) from None

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("plaudit"), prog_name="plaudit")
def main() -> None:
    """Plaudit, the real-time voting and leaderboard server.

    Settings come from the environment; `plaudit serve --help` lists them. Commands that need the stores use those of
    DATABASE_URL and REDIS_URL, else those of the data folder, running or not. Those that talk to a server take
    --url and a key, else the local server's.
    """


for command in (
    *(serve, watch, top, boards, vote, retract, simulation, mcp),
    *(replay, verify, rebuild, migrate, tenant, agent),
):
    main.add_command(command)

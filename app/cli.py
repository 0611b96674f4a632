"""The command line: `plaudit`."""

from __future__ import annotations

from importlib.metadata import version

import click

from app.commands.agent import agent
from app.commands.archive import migrate, rebuild, verify
from app.commands.replay import replay
from app.commands.serve import serve
from app.commands.tenant import tenant


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("plaudit"), prog_name="plaudit")
def main() -> None:
    """Plaudit, the real-time voting and leaderboard server.

    Settings come from the environment; `plaudit serve --help` lists them. Commands that need the stores use those of
    DATABASE_URL and REDIS_URL, else those of the data folder, running or not.
    """


for command in (serve, migrate, replay, verify, rebuild, tenant, agent):
    main.add_command(command)

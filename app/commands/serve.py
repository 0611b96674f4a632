"""`plaudit serve`."""

from __future__ import annotations

from collections.abc import Callable

import click

from app import serve as server
from app.commands.common import load_settings, run
from app.settings import table


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for every setting."""
    for field, setting in reversed(table().items()):
        text = f"{setting.doc} [{setting.variable}]"
        command = click.option(setting.flag, field, metavar="VALUE", help=text)(command)
    return command


@click.command
@click.option("--demo", is_flag=True, help="Add the demo catalogue and an agent to try it with.")
@_settings
def serve(demo: bool, **flags: str | None) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Without DATABASE_URL and REDIS_URL it runs a PostgreSQL and a Valkey of its own, with their data in the
    data folder. Each setting can also be given by the environment variable that its help names.
    """
    settings = load_settings(**flags)
    run(lambda: server.serve(settings, with_demo=demo))

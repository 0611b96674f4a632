"""`plaudit watch`."""

from __future__ import annotations

import os
import sys
import time
from contextlib import aclosing, nullcontext, suppress

import click
import msgspec
from rich.console import Console
from rich.live import Live

from app.commands.board import places_option, window_option
from app.commands.common import run, until_stopped
from app.commands.reaching import one_sentence, reach, tenant_option, url_option, viewer_option
from app.screen import Screen
from channels.client import BoardView, PlauditClient
from storage.types import Window

_PATIENCE = 10.0
_FRAMES = 10  # a second


@click.command
@click.argument("board")
@window_option
@places_option("top", default=20)
@url_option
@viewer_option
@tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON now and after every change.")
def watch(
    board: str, window: Window, top: int, url: str | None, key: str | None, tenant: str | None, as_json: bool
) -> None:
    """Watch BOARD live, until Ctrl-C.

    Comes back by itself when the connection is lost, and says so meanwhile.
    """
    server = reach(url)
    if not (as_json or sys.stdout.isatty()):
        raise click.UsageError("watch draws on a terminal, and this is none: for pipes there is --json.")
    screen = Screen(board, window, server.url, time.monotonic)
    display = _Lines() if as_json else screen
    drawing = Live(screen, console=Console(), refresh_per_second=_FRAMES, vertical_overflow="crop")

    async def follow() -> None:
        async with (
            PlauditClient(server.url, key, tenant, patience=_PATIENCE, on_connection=display.connection) as client,
            aclosing(client.watch(board, top=top, window=window)) as views,
        ):
            async for view in views:
                display.show(view)

    # A pipe whose reader has left is an end like any other.
    with one_sentence(server), suppress(_Left), nullcontext() if as_json else drawing:
        run(lambda: until_stopped(follow()))


class _Left(Exception):
    """Nobody reads any more."""


class _Lines:
    """The board as lines of JSON; what is to be known of the connection goes to standard error."""

    def __init__(self) -> None:
        self._lost = False

    def connection(self, connected: bool) -> None:
        if not connected:
            click.echo("connection lost, trying again", err=True)
        elif self._lost:
            click.echo("connected again", err=True)
        self._lost = not connected

    def show(self, view: BoardView) -> None:
        try:
            print(msgspec.json.encode(view).decode(), flush=True)  # noqa: T201  # click would swallow a closed pipe's error
        except BrokenPipeError:
            # What is still buffered must not fail once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise _Left from None

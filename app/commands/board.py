"""`plaudit boards`, `top`, `vote` and `retract`: one question, one answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar, get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.commands.reaching import key_option, one_sentence, reach, tenant_option, url_option, viewer_option
from app.terminal import entry_of, plain, ranking_table, score_text
from channels.http import PlauditHTTP
from channels.protocol import Choice
from storage.types import Window

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, for pipes.")
_PIPE_WIDTH: Final = 160
_WORDS: Final[dict[str, Choice]] = {"up": "up", "down": "down"}

window_option = click.option(
    "--window", type=click.Choice(get_args(Window)), default="all", show_default=True, help="Which votes count."
)


def places_option(name: str, default: int) -> Callable[[F], F]:
    """How many places, under either name: nobody has to remember which command has which."""
    return click.option(
        *("--top", "--limit", name),
        type=click.IntRange(1, 1000),
        default=default,
        show_default=True,
        help="How many places.",
    )


@click.command
@url_option
@viewer_option
@tenant_option
@json_option
def boards(url: str | None, key: str | None, tenant: str | None, as_json: bool) -> None:
    """List the boards."""
    server = reach(url)
    with one_sentence(server), PlauditHTTP(server.url, key, tenant) as plaudit:
        found = plaudit.boards()
    if as_json:
        _print_json(found)
        return
    grid = Table("board", "title", "of", "ballot", "state", "windows", box=None, header_style="dim", pad_edge=False)
    for board in found:
        windows = ", ".join(board["windows"])
        grid.add_row(
            *(board["slug"], Text(plain(board["title"])), f"{board['item_type']}s"),
            *(_ballot(board["ballot"]), board["state"], windows),
        )
    _console().print(grid)


@click.command
@click.argument("board")
@window_option
@places_option("limit", default=10)
@url_option
@viewer_option
@tenant_option
@json_option
def top(
    board: str, window: Window, limit: int, url: str | None, key: str | None, tenant: str | None, as_json: bool
) -> None:
    """Print the first places of BOARD, with the ids to vote with."""
    server = reach(url)
    with one_sentence(server), PlauditHTTP(server.url, key, tenant) as plaudit:
        ranking = plaudit.ranking(board, window=window, limit=limit)
    if as_json:
        _print_json(ranking)
    else:
        console = _console()
        console.print(ranking_table(list(map(entry_of, ranking["entries"])), console.width, ids=True))


# A value like -3 is no option.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("board")
@click.argument("item")
@click.argument("choice", metavar="{up|down|NUMBER}")
@click.option("--comment", help="What to say about it.")
@url_option
@key_option
@json_option
def vote(
    board: str, item: str, choice: str, comment: str | None, url: str | None, key: str | None, as_json: bool
) -> None:
    """Vote on ITEM of BOARD: up or down, or a number where the board takes points or stars.

    The same vote again changes nothing, so that it is safe to repeat.
    """
    chosen = _choice(choice)
    server = reach(url)
    with one_sentence(server), PlauditHTTP(server.url, server.agent_key(key)) as plaudit:
        _print_result(plaudit.vote(board, item, chosen, comment), as_json=as_json)


@click.command
@click.argument("board")
@click.argument("item")
@url_option
@key_option
@json_option
def retract(board: str, item: str, url: str | None, key: str | None, as_json: bool) -> None:
    """Take the vote on ITEM of BOARD back."""
    server = reach(url)
    with one_sentence(server), PlauditHTTP(server.url, server.agent_key(key)) as plaudit:
        _print_result(plaudit.retract(board, item), as_json=as_json)


def _console() -> Console:
    """Standard output; a pipe is wider than a terminal that is not known."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def _choice(text: str) -> Choice | int:
    try:
        return _WORDS.get(text) or int(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is no vote: up, down or a number is.") from None


def _print_result(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(result)
        return
    rank = "" if result["rank"] is None else f"place {result['rank']:,}, "
    left = result["quota_remaining"]
    counts = f"{result['up_votes']:,} up, {result['down_votes']:,} down"
    click.echo(
        f"{result['status']}: {plain(result['item_id'])} on {result['board']}: {rank}"
        f"score {score_text(result['score'])} ({counts})"
        f"{'' if left is None else f'; {left:,} votes left today'}"
    )


def _print_json(answer: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2 if sys.stdout.isatty() else 0))


def _ballot(ballot: dict[str, Any]) -> str:
    bounds = f" {ballot['min']} to {ballot['max']}" if ballot["kind"] in {"points", "stars"} else ""
    return f"{ballot['kind']}{bounds}"

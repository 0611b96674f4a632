"""`plaudit replay`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from app.admin import Admin, Standing
from app.commands.common import run
from app.commands.reaching import admin_key_option, one_sentence, reach, url_option
from app.replay.casting import Casting, Outcome
from app.replay.contest import Contest, CsvError, Entry, read_contests
from channels.client import Vote

_SHOWN = 10
_LOOKS = 5
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_Tables = dict[str, list[Standing]]


@click.command
@click.option(
    "--board", "slug", required=True, metavar="SLUG", help="The board; SLUG-YEAR where there are several years."
)
@click.option("--entries", required=True, type=_FILE, help="CSV: item_id, title, artist, url; year, official_points.")
@click.option("--votes", required=True, type=_FILE, help="CSV: agent_id, item_id, points; year.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), help="Votes a second; as fast as it goes without.")
@url_option
@admin_key_option
def replay(slug: str, entries: Path, votes: Path, speed: float | None, url: str | None, admin_key: str | None) -> None:
    """Cast every ballot of a contest that was.

    Makes the boards, songs and agents (what exists already is kept), then casts all ballots over websockets, one
    connection an agent, and prints the final tables. Exits with 1 where a vote failed or a table differs from the
    official points.
    """
    server = reach(url)
    key = server.admin_key(admin_key)
    console = Console(stderr=True)
    try:
        contests = read_contests(slug, entries, votes)
    except CsvError as error:
        raise click.ClickException(str(error)) from None
    with one_sentence(server):
        outcome, tables = run(lambda: _replay(contests, server.url, key, speed, console))
    same = [_print_table(contest, tables[contest.slug]) for contest in contests]
    _print_outcome(outcome)
    if outcome.failures or not all(same):
        raise SystemExit(1)


async def _replay(
    contests: Sequence[Contest], url: str, key: str, speed: float | None, console: Console
) -> tuple[Outcome, _Tables]:
    votes: dict[str, list[Vote]] = {}
    for contest in contests:
        for ballot in contest.ballots:
            votes.setdefault(ballot.agent_id, []).append(Vote(contest.slug, ballot.item_id, ballot.points))
    bar = Progress(
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()), console=console
    )
    async with Admin(url, key) as admin:
        with bar:
            making = bar.add_task("Boards, songs, agents", total=len(contests) + 1)
            for contest in contests:
                await _make(admin, contest)
                bar.advance(making)
            keys = {agent: issued.api_key for agent, issued in (await admin.agent_keys(list(votes))).items()}
            bar.advance(making)
            casting = bar.add_task("Votes", total=sum(map(len, votes.values())))
            outcome = await Casting(url, speed, lambda: bar.advance(casting)).run(keys, votes)
        return outcome, {contest.slug: await _final(admin, contest) for contest in contests}


async def _make(admin: Admin, contest: Contest) -> None:
    ballot = {"kind": "points", "min": contest.lowest, "max": contest.highest}
    board = {
        "slug": contest.slug,
        "title": contest.slug,
        "item_type": "song",
        "ballot": ballot,
        "ballots_change": False,
    }
    await admin.add("/boards", [board])
    await admin.add("/songs", [_song(entry) for entry in contest.entries])
    await admin.add(f"/boards/{contest.slug}/items", [{"item_id": entry.item_id} for entry in contest.entries])


def _song(entry: Entry) -> dict[str, str]:
    platform = (urlsplit(entry.url).hostname or "").removeprefix("www.")
    return {
        "id": entry.item_id,
        "title": entry.title,
        "artist": entry.artist,
        "platform": platform,
        "platform_url": entry.url,
    }


async def _final(admin: Admin, contest: Contest) -> list[Standing]:
    """The table after the last vote, of which the server that is asked may hear a moment after it was acknowledged."""
    for look in range(_LOOKS):
        table = await admin.ranking(contest.slug)
        if not _wrong(contest, table):
            break
        await asyncio.sleep(0.05 * 2**look)
    return table


def _wrong(contest: Contest, table: Sequence[Standing]) -> set[str]:
    """The items that don't stand where they are known to have ended."""
    scores = {standing.item_id: standing.score for standing in table}
    known = {entry.item_id: entry.official for entry in contest.entries if entry.official is not None}
    return {item for item, official in known.items() if scores.get(item) != official}


def _print_table(contest: Contest, table: Sequence[Standing]) -> bool:
    """Prints a board as it ended; answers whether that is how it is known to have ended."""
    official = {entry.item_id: entry.official for entry in contest.entries}
    wrong = _wrong(contest, table)
    grid = Table(title=Text(contest.slug), title_justify="left", box=None, header_style="bold")
    grid.add_column("rank", justify="right")
    grid.add_column("title")
    grid.add_column("artist")
    grid.add_column("score", justify="right")
    if compared := any(points is not None for points in official.values()):
        grid.add_column("official", justify="right")
    for standing in table:
        cells: list[str | Text] = [
            str(standing.rank),
            Text(standing.title),
            Text(standing.artist),
            f"{standing.score:,}",
        ]
        if compared:
            cells.append(_verdict(official.get(standing.item_id), wrong=standing.item_id in wrong))
        grid.add_row(*cells)
    console = Console()
    console.print(grid)
    for item in sorted(wrong - {standing.item_id for standing in table}):
        console.print(Text(f"{item} is not on the board, but has {official[item]} official points."))
    console.print()
    return not wrong


def _verdict(official: int | None, *, wrong: bool) -> Text:
    if official is None:
        return Text("")
    return Text(f"{official:,} ✗", style="red") if wrong else Text(f"{official:,} ✓", style="green")


def _print_outcome(outcome: Outcome) -> None:
    for failure in outcome.failures[:_SHOWN]:
        vote = failure.vote
        click.echo(f"{failure.agent} on {vote.item} of {vote.board}: {failure.error}", err=True)
    if (more := len(outcome.failures) - _SHOWN) > 0:
        click.echo(f"... and {more:,} further votes failed.", err=True)
    counted = outcome.statuses.total()
    parts = [f"{number:,} {status}" for status, number in outcome.statuses.most_common()]
    if outcome.failures:
        parts.append(f"{len(outcome.failures):,} failed")
    rate = counted / outcome.seconds if outcome.seconds else 0
    click.echo(f"{counted:,} votes in {outcome.seconds:.2f} s, {rate:,.0f} votes/s ({', '.join(parts)}).")

"""`plaudit simulate`."""

from __future__ import annotations

import time
from collections import Counter

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.commands.common import run, until_stopped
from app.commands.reaching import admin_key_option, one_sentence, reach, url_option
from app.simulate import BOARDS, simulate


@click.command("simulate")
@click.argument("boards", nargs=-1, metavar="[BOARD]...")
@click.option("--agents", type=click.IntRange(1, 5000), default=200, show_default=True, help="How many vote.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=500.0, show_default=True, help="Votes a second, of all."
)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="For how long; until Ctrl-C without it.")
@url_option
@admin_key_option
def simulation(
    boards: tuple[str, ...], agents: int, rate: float, seconds: float | None, url: str | None, admin_key: str | None
) -> None:
    """Give each BOARD life (songs and tools without any): agents that vote, and change their minds.

    Makes the agents sim-1, sim-2 and so on, with keys that are void again at the end. Their votes stay, and count:
    this is for servers to try things with.
    """
    server = reach(url)
    key = server.admin_key(admin_key)
    counts: Counter[str] = Counter()
    bar = Progress(
        *(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}")),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    started = last = time.monotonic()
    with one_sentence(server), bar:
        # Of seconds where their number is known; without it the bar only shows that something goes on.
        progress = bar.add_task(f"{agents:,} agents", total=seconds, state="connecting")

        def acted(outcome: str) -> None:
            nonlocal started, last
            last = time.monotonic()
            if not counts:
                started = last
            counts[outcome] += 1
            elapsed = last - started
            bar.update(progress, completed=elapsed, state=f"{counts.total():,} votes, {_rate(counts, elapsed):,.0f}/s")

        work = simulate(
            server.url, key, boards=boards or BOARDS, agents=agents, rate=rate, seconds=seconds, on_act=acted
        )
        try:
            run(lambda: until_stopped(work))
        except ValueError as error:
            raise click.ClickException(f"{str(error).capitalize()}.") from None
    elapsed = last - started
    parts = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.most_common())
    click.echo(f"{counts.total():,} votes in {elapsed:.1f} s, {_rate(counts, elapsed):,.0f}/s ({parts or 'none'}).")


def _rate(counts: Counter[str], seconds: float) -> float:
    return counts.total() / seconds if seconds else 0.0

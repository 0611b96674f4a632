"""Rankings on a terminal: what each cell shows."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Sequence
from itertools import groupby
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from channels.protocol import Entry

_BAR: Final = 12
_WITH_ARTIST: Final = 48
_WITH_BAR: Final = 76
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(text: str) -> str:
    """A text that others chose, without what would move a terminal's cursor or turn its line around."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} else char
        for char in text
        if char not in _REORDERING
    )


def ranking_table(
    entries: Sequence[Entry], width: int, *, changed: Container[str] = (), ids: bool = False
) -> RenderableType:
    """Entries in ranking order on lines of `width` cells; `changed` items are set off.

    `ids` adds what one votes with. A narrow terminal is spared what matters least.
    """
    roomy = width - (max((cell_len(plain(entry.item)) for entry in entries), default=0) + 2 if ids else 0)
    artists, bars = roomy >= _WITH_ARTIST, roomy >= _WITH_BAR
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=3)
    table.add_column("title", ratio=3, no_wrap=True)
    if artists:
        table.add_column("artist", ratio=2, no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    if bars:
        table.add_column("", no_wrap=True, width=_BAR)
    table.add_column("up", justify="right", no_wrap=True)
    table.add_column("down", justify="right", no_wrap=True)
    if ids:
        table.add_column("id", no_wrap=True, overflow="fold")
    # Where nothing has a past, "new" on every line would say nothing.
    anything_old = any(entry.movement is not None for entry in entries)
    for entry in entries:
        cells = [
            Text(str(entry.rank), style=_MEDALS.get(entry.rank, "")),
            movement_cell(entry.movement) if anything_old else Text(""),
            Text(plain(entry.title or entry.item), overflow="ellipsis"),
            *([Text(plain(entry.artist or ""), style="dim", overflow="ellipsis")] if artists else []),
            Text(score_text(entry.score), style="bold"),
            *([share_bar(entry.up_votes, entry.down_votes)] if bars else []),
            Text(f"{entry.up_votes:,}", style="green"),
            Text(f"{entry.down_votes:,}", style="red"),
            *([Text(plain(entry.item), style="cyan")] if ids else []),
        ]
        table.add_row(*cells, style="bold yellow" if entry.item in changed else "")
    return table if entries else Group(table, Text("Nothing is on this board yet.", style="dim"))


_MEDALS: Final = {1: "bold bright_yellow", 2: "bold bright_white", 3: "bold dark_orange3"}


def movement_cell(movement: int | None) -> Text:
    """Places won or lost in an hour."""
    match movement:
        case None:
            return Text("new", style="cyan")
        case 0:
            return Text("·", style="dim")
        case won if won > 0:
            return Text(f"▲{won}", style="green")
        case lost:
            return Text(f"▼{-lost}", style="red")


def score_text(score: float) -> str:
    """A score with its thousands apart, and hundredths where it has some."""
    return f"{score:,}" if isinstance(score, int) else f"{score:,.2f}"


def share_bar(up: int, down: int) -> Text:
    """How many of the votes were up and how many down, as a bar."""
    if not up + down:
        return Text("─" * _BAR, style="dim")
    green = round(_BAR * up / (up + down))
    # Whoever got a single vote of a kind is shown it.
    green = min(max(green, 1 if up else 0), _BAR - (1 if down else 0))
    bar = ["green"] * green + ["red"] * (_BAR - green)
    return Text.assemble(*(("━" * len(list(run)), colour) for colour, run in groupby(bar)))


def entry_of(answer: dict[str, Any]) -> Entry:
    """An entry as the HTTP API tells it."""
    labels = {name: answer[name] for name in ("title", "artist") if answer.get(name) is not None}
    counts = {name: answer[name] for name in ("rank", "score", "up_votes", "down_votes", "movement")}
    return Entry(item=answer["item_id"], **counts, **labels)

"""A board that stays live on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.styled import Styled
from rich.text import Text

from app.terminal import plain, ranking_table
from channels.client import BoardView

GLOW: Final = 1.5
"""Seconds for which a row that changed is set off."""

_AROUND: Final = 5  # lines that are not rows: title, heads, footer, and room for the prompt


class Screen:
    """What is drawn, whenever it is drawn; `clock` gives seconds."""

    def __init__(self, board: str, window: str, url: str, clock: Callable[[], float]) -> None:
        self._board = board
        self._window = window
        self._url = url
        self._clock = clock
        self._view: BoardView | None = None
        self._connected: bool | None = None
        self._changed: dict[str, float] = {}

    def connection(self, connected: bool) -> None:
        """Notes that there is a connection, or that it was lost."""
        self._connected = connected

    def show(self, view: BoardView) -> None:
        """Takes the board as it is now."""
        if self._view is not None:
            old = {entry.item: (entry.score, entry.up_votes, entry.down_votes) for entry in self._view.entries}
            for entry in view.entries:
                if old.get(entry.item) != (entry.score, entry.up_votes, entry.down_votes):
                    self._changed[entry.item] = self._clock() + GLOW
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = self._clock()
        self._changed = {item: until for item, until in self._changed.items() if until > now}
        yield self._title()
        if self._view is None:
            return
        room = max(1, console.height - _AROUND)
        entries = self._view.entries[:room]
        yield Styled(ranking_table(entries, options.max_width, changed=self._changed), "" if self._connected else "dim")
        hidden = len(self._view.entries) - len(entries)
        below = f"{hidden:,} more would fit a higher terminal; " if hidden else ""
        yield Text(f"{below}{self._view.total:,} on the board · Ctrl-C ends", style="dim")

    def _title(self) -> Text:
        title = Text.assemble((plain(self._board), "bold"), (f" · {self._window} ", "dim"))
        if self._connected:
            return title.append(" ● live", style="bold green")
        if self._connected is None:
            return title.append(f" ○ waiting for {self._url}", style="yellow")
        # What stands below is as old as the loss: never let it pass for the present.
        return title.append(f" ○ connection to {self._url} lost, trying again; this is out of date", style="bold red")

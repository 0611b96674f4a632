"""How lively boards are: votes a second and viewers, over all servers of the installation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

SPAN: Final = 5
"""Whole seconds that votes a second are the mean of."""


class Activity:
    """What a server hears of boards. `clock` gives seconds and never goes back.

    Votes come from the announcements that all servers hear; viewers are those of this server unless
    somebody who knows better says so.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._votes: dict[int, deque[tuple[int, int]]] = {}
        self._viewers: dict[int, int] = {}

    def voted(self, events: Mapping[int, int]) -> None:
        """Takes note of how many events boards have had just now."""
        second = int(self._clock())
        for board, count in events.items():
            recent = self._votes.setdefault(board, deque(maxlen=SPAN + 1))
            if recent and recent[-1][0] == second:
                recent[-1] = second, recent[-1][1] + count
            else:
                recent.append((second, count))

    def votes_per_second(self, board: int) -> float:
        """The mean over the last whole seconds, to the tenth."""
        now = int(self._clock())
        recent = self._votes.get(board, ())
        return round(sum(count for second, count in recent if now - SPAN <= second < now) / SPAN, 1)

    def watched(self, viewers: Mapping[int, int]) -> None:
        """Takes note of how many watch each board; nobody watches one that is not named."""
        self._viewers = dict(viewers)

    def viewers(self, board: int) -> int:
        """How many watch a board."""
        return self._viewers.get(board, 0)

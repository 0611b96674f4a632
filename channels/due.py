"""Which rooms are due, since when, and which of them come first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final

from channels.room import Room

PORTION: Final = 1500
"""Rows that are read in one go, such as 25 boards' first fifty. The store does nothing else meanwhile: votes would wait
if it were all of them."""

ROUND: Final = 8 * PORTION
"""Rows that are shown in one go, and as many that are read for newcomers. Where that is not all, votes then have the
process and the store for as long as it took."""

_burden = attrgetter("burden")


class Due:
    """The rooms that have something to be shown.

    `rooms_of` names all rooms of a board, perhaps thousands, and `current` tells whether one has seen the newest
    version of its board. `wake` is called whenever one may have become due.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rooms_of: Callable[[int], Iterable[Room]],
        current: Callable[[Room], bool],
        wake: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._rooms_of = rooms_of
        self._current = current
        self._wake = wake
        self._since: dict[Room, float] = {}
        self._moved: dict[int, float] = {}
        self._covered: set[int] = set()  # boards all of whose rooms, if there are any, are due

    def note(self, board: int) -> None:
        """Remembers that a board moved on. Which of its rooms are due is looked at once a round, not at every vote."""
        if board not in self._covered:
            self._moved.setdefault(board, self._clock())
            self._wake()

    def mark(self, room: Room, since: float | None = None) -> None:
        """Makes a room due that somebody watches, as of `since`, or of now."""
        if not room.empty and room not in self._since:
            self._since[room] = self._clock() if since is None else since
            self._wake()

    def joined(self, room: Room) -> None:
        """Somebody has come into a room."""
        self._covered.discard(room.board.number)
        if room in self._since:  # which may have been passed over because nobody in it could take anything
            self._wake()
        if not self._current(room):  # the board changed while it was read for a room that was empty
            self.mark(room)

    def left(self, room: Room) -> None:
        """The last one has left a room."""
        self._since.pop(room, None)

    def take(self, rooms: Iterable[Room]) -> dict[Room, float]:
        """Those of the rooms that are due, with the time since when; they are not any more."""
        taken = {room: self._since.pop(room) for room in rooms if room in self._since}
        self._covered.difference_update(room.board.number for room in taken)
        return taken

    def now(self, time: float) -> list[Room]:
        """The rooms that are to be shown at a time, all of them."""
        self._mark_moved()
        return [room for room in self._since if room.not_before <= time and not room.stalled]

    def soonest(self) -> float | None:
        """When the next one is to be shown; None where there is none."""
        return min((room.not_before for room in self._since if not room.stalled), default=None)

    def round(self, rooms: list[Room]) -> list[Room]:
        """What is shown at once, where that is not all: first what many watch, or those who watch little.

        A few who watch much that nobody else does must not hold up all others. The last quarter is for who has waited
        longest: however many come before them, they get their turn.
        """
        if sum(room.cost for room in rooms) <= ROUND:
            return rooms
        waiting = sorted(rooms, key=self._since.__getitem__)
        first = dict.fromkeys(_fitting(sorted(waiting, key=_burden), ROUND * 3 // 4))
        return [*first, *_fitting((room for room in waiting if room not in first), ROUND // 4)] or waiting[:1]

    def _mark_moved(self) -> None:
        for board, since in self._moved.items():
            covered = True
            for room in self._rooms_of(board):
                if room in self._since:
                    continue
                if self._current(room):
                    covered = False
                else:
                    self.mark(room, since)
            if covered:
                self._covered.add(board)
        self._moved.clear()


def _fitting(rooms: Iterable[Room], rows: int) -> list[Room]:
    """As many of these, from the first on, as cost no more."""
    fitting: list[Room] = []
    for room in rooms:
        rows -= room.cost
        if rows < 0:
            break
        fitting.append(room)
    return fitting


def portions(rooms: Iterable[Room]) -> Iterator[tuple[int, list[Room]]]:
    """Rooms of one shard each, those of a board together where they fit: one read may do for several of them."""
    ordered = sorted(rooms, key=lambda room: (room.board.shard, room.board.number))
    for shard, together in groupby(ordered, key=lambda room: room.board.shard):
        portion: list[Room] = []
        rows = 0
        for room in together:
            rows += room.cost
            if portion and rows > PORTION:
                yield shard, portion
                portion, rows = [], room.cost
            portion.append(room)
        yield shard, portion

"""A hub in virtual time, over a store that counts what is asked of it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any

from channels.due import PORTION
from channels.hub import Hub
from channels.ranking import View, rank_rows
from channels.room import VIEW_ROWS, Subscription
from channels.wire import Label
from storage.types import Board, Query, Row, TopView
from tests.channels.viewer import Viewer
from tests.channels.virtual import run

RATE = 10
TICK = 1 / RATE
READ = 0.001
"""Seconds that the store takes to answer, where it is asked for a portion at most."""
TOP = 50
BOARDS = PORTION // (VIEW_ROWS + TOP)
"""Boards in a portion."""


class AwayError(Exception):
    """The store does not answer."""


def board(number: int = 1, shard: int = 0) -> Board:
    return Board(number, 1, shard, f"board-{number}", "Songs", "song", "updown", -1, 1, False, ("all",))


class FillingError(AwayError):
    """The store will answer soon."""


class Theatre:
    """A hub, its store, and the time at which each thing was read or shown."""

    def __init__(self) -> None:
        self.points: dict[int, dict[str, int]] = {}
        self.versions: dict[int, int] = {}
        self.epoch = "e"
        self.away = False
        self.filling = False
        self.complete = True
        self.reads: list[tuple[float, int, int]] = []
        self.labelled: list[str] = []
        self.sent: list[tuple[float, int, float]] = []
        self.clock = asyncio.get_running_loop().time
        self.hub = Hub(
            self._views,
            self._labels,
            self.clock,
            rate=RATE,
            unavailable=AwayError,
            passing=FillingError,
            on_sent=lambda frames, seconds: self.sent.append((self.clock(), frames, seconds)),
        )
        self.hub.listening()
        self.running = asyncio.create_task(self.hub.run())

    async def _views(self, shard: int, wanted: Sequence[tuple[Board, Query]]) -> list[View | None]:
        self.reads.append((self.clock(), shard, len(wanted)))
        views = [self._view(board.number, query) for board, query in wanted]
        await asyncio.sleep(READ * max(1, sum(query.view.rows for _, query in wanted) / PORTION))
        if self.away:
            raise AwayError("away")
        if self.filling:
            raise FillingError("filling")
        return views

    def _view(self, number: int, query: Query) -> View | None:
        if number not in self.points:
            return None
        before = 3 if self.complete else None
        rows = rank_rows([Row(item, 0, points, 1, 0, before) for item, points in self.points[number].items()])
        assert isinstance(query.view, TopView)
        shown = rows[: query.view.limit]
        return View.of(self.epoch, self.versions[number], len(rows), shown, incomplete=not self.complete)

    async def _labels(self, board: Board, items: Sequence[str]) -> Mapping[str, Label]:
        self.labelled += items
        return {item: Label(f"Song {item}") for item in items}

    def vote(self, points: int, number: int = 1, *, item: str = "a", told: bool = True) -> None:
        """Sets an item's points, as a batch that was applied does."""
        self.points.setdefault(number, {})[item] = points
        self.versions[number] = self.versions.get(number, 0) + 1
        if told:
            self.tell(number)

    def tell(self, number: int = 1) -> None:
        self.hub.changed(self.epoch, {number: self.versions[number]})

    async def join(self, viewer: Viewer, number: int = 1, *, of: Board | None = None, top: int = TOP) -> Subscription:
        of = of or board()
        held = viewer.view
        subscription, frames = await self.hub.join(
            of, Query(of.number, "all", TopView(top)), viewer, number, name=1,
            epoch=None if held is None else held.epoch, version=None if held is None else held.version,
        )  # fmt: skip
        for frame in frames:
            viewer.write(frame)
        return subscription

    async def fill(self, boards: int) -> list[Viewer]:
        """So many boards with a viewer each."""
        viewers = [Viewer() for _ in range(boards)]
        for number, viewer in enumerate(viewers, 1):
            self.vote(100, number)
            await self.join(viewer, of=board(number))
        await self.quiet()
        return viewers

    def change_all(self, boards: int) -> None:
        """A vote on each of them at once; reads are counted from here."""
        self.reads.clear()
        for number in range(1, boards + 1):
            self.vote(200, number)

    async def changes_seen(self, viewer: Viewer) -> list[float]:
        """When a viewer was shown something, while there are ten votes a tick for ten ticks."""
        shown: list[float] = []
        for points in range(200, 300):
            before = len(viewer.messages)
            self.vote(points)
            await asyncio.sleep(TICK / 10)
            if len(viewer.messages) > before:
                shown.append(self.clock())
        return shown

    async def until(self, done: Callable[[], bool]) -> None:
        """Waits in virtual time."""
        async with asyncio.timeout(60):
            while not done():
                await asyncio.sleep(READ / 10)

    async def quiet(self) -> None:
        """Lets a second pass without anything new."""
        await asyncio.sleep(1)

    def score(self, viewer: Viewer, item: str = "a") -> int:
        assert viewer.view is not None
        return viewer.view.rows[item].points


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def sync(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return sync

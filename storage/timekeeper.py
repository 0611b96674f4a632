"""What time alone changes on boards, once a minute: samples of ranks, windows that end, trending that decays.

Only the process that flushes a shard keeps its time, so that it is kept once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from storage.archive import Archive
from storage.boards import Boards
from storage.calendar import MINUTE_MS, periods_at
from storage.errors import StorageError
from storage.flusher import Flusher
from storage.history import DEPTH as HISTORY_DEPTH
from storage.history import History
from storage.live import LiveStore
from storage.samples import DEPTH, Samples
from storage.types import Board, Query, Row, TopView, Window

HOUR: Final = 60 * MINUTE_MS
"""How far back movement looks."""

log = structlog.get_logger(__name__)


class Timekeeper:
    """Keeps the time of one shard. `run` ends only when cancelled."""

    def __init__(self, flusher: Flusher, live: LiveStore, archive: Archive, now: Callable[[], int]) -> None:
        self._flusher = flusher
        self._shard = flusher.shard
        self._live = live
        self._boards = Boards(archive)
        self._samples = Samples(archive)
        self._history = History(archive)
        self._now = now
        self._seen: dict[int, tuple[str, int]] = {}
        self._sampled: dict[int, int] = {}
        self._remembered: dict[tuple[int, Window], int] = {}

    async def run(self) -> None:
        """Acts at every full minute of the clock, which includes every midnight."""
        while True:
            await asyncio.sleep((MINUTE_MS - self._now() % MINUTE_MS) / 1000)
            if not self._flusher.leading:
                continue
            try:
                await self.tick(self._now())
            except StorageError as error:
                log.warning("time of a shard was not kept", shard=self._shard, error=str(error))

    async def tick(self, now: int) -> None:
        """Samples the boards that changed, then moves every board on to `now`; nothing while they are being filled."""
        position = await self._live.position(self._shard)
        if not position.ready or position.epoch is None:
            return
        now = await self._live.bounded(now)
        boards = await self._boards.of_shard(self._shard)
        versions = await self._live.versions(self._shard, [board.number for board in boards])
        for board in boards:
            state = position.epoch, versions.get(board.number, 0)
            if board.number in versions and self._seen.get(board.number) != state:
                await self._sample(board, now)
                self._seen[board.number] = state
        references = await self._samples.latest(self._shard, now - HOUR)
        await self._live.roll(
            self._shard, now, periods_at(now), {board.number: references.get(board.number, 0) for board in boards}
        )
        await self._samples.drop(self._shard, now - 2 * HOUR)
        await self._history.thin(self._shard, now)

    async def _sample(self, board: Board, now: int) -> None:
        rows: list[Sequence[Row]] = []
        for window in board.windows:
            # One after the other: votes come in between.
            (ranking,) = await self._live.read(self._shard, [Query(board.number, window, TopView(DEPTH))])
            rows.append([] if ranking is None else ranking.rows)
        # Only ranks count: were every version sampled, then a sample that comes to be an hour old, which is a version
        # of its own, would lead to another one, and a board on which nothing happens would never come to rest.
        ranks = hash(tuple((row.item, row.rank) for ranked in rows for row in ranked))
        for window, ranked in zip(board.windows, rows, strict=True):
            if self._sampled.get(board.number) != ranks:
                await self._samples.add(board.number, window, now, ranked)
            await self._remember(board, window, now, ranked)
        self._sampled[board.number] = ranks

    async def _remember(self, board: Board, window: Window, now: int, rows: Sequence[Row]) -> None:
        """Keeps how a window stands for charts, where it stands otherwise than a minute ago.

        A board's version rises with its trending scores too, which leaves its other windows as they are.
        """
        known = hash(tuple((row.item, row.points) for row in rows[:HISTORY_DEPTH]))
        if self._remembered.get((board.number, window)) != known:
            await self._history.add(board.number, window, now, rows)
            self._remembered[board.number, window] = known

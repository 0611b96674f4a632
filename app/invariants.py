"""Looks over the shoulder of a running server: whether live boards still agree with the archive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from storage.archive import Archive
from storage.boards import Boards
from storage.errors import StorageError
from storage.flusher import Flusher
from storage.live import LiveStore
from storage.verify import SAMPLE, spot_check

PERIOD: Final = 60.0
"""Seconds between two looks."""

_SHOWN: Final = 5

log = structlog.get_logger(__name__)


class InvariantChecker:
    """Compares a part of a board of each shard, once a minute. `run` ends only when cancelled.

    Only the process that flushes a shard looks at it, so that it is looked at once. `random` gives numbers in [0, 1).
    `on_checked` hears how many items were compared, and how many of them differ.
    """

    def __init__(
        self,
        flushers: Mapping[int, Flusher],
        live: LiveStore,
        archive: Archive,
        random: Callable[[], float],
        on_checked: Callable[[int, int], None],
    ) -> None:
        self._flushers = flushers
        self._live = live
        self._archive = archive
        self._boards = Boards(archive)
        self._random = random
        self._on_checked = on_checked

    async def run(self) -> None:
        """Looks again and again."""
        while True:
            await asyncio.sleep(PERIOD)
            for shard, flusher in list(self._flushers.items()):
                if flusher.leading:
                    await self.check(shard)

    async def check(self, shard: int) -> None:
        """Looks at some items of one board of a shard; a store that is away is left alone."""
        try:
            boards = await self._boards.of_shard(shard)
            if not boards:
                return
            board = boards[int(self._random() * len(boards))]
            items = await self._live.item_count(shard, board.number)
            checked = await spot_check(self._live, self._archive, board, int(self._random() * max(1, items - SAMPLE)))
        except StorageError as error:
            log.info("a board could not be checked", shard=shard, reason=str(error))
            return
        self._on_checked(checked.items, len(checked.differences))
        if checked.differences:
            log.error(
                "live board and archive differ", shard=shard, board=board.slug, seq=checked.seq,
                differences=checked.differences[:_SHOWN],
            )  # fmt: skip

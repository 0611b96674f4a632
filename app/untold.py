"""What the live store could not be told of when it was new: it is made up for as soon as that can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from storage.errors import StorageError

AGAIN: Final = 0.5
"""Seconds between two tries."""


class Untold:
    """Shards whose live store lacks boards or items that the archive has. `complete` adds what is missing."""

    def __init__(self, complete: Callable[[int], Awaitable[object]]) -> None:
        self._complete = complete
        self._shards: set[int] = set()
        self._more = asyncio.Event()

    def add(self, shard: int) -> None:
        """There is something that the live store was not told of."""
        self._shards.add(shard)
        self._more.set()

    async def run(self) -> None:
        """Tells it, over any number of losses of either store, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            for shard in sorted(self._shards):
                # Before: what is added meanwhile may come too late for this time.
                self._shards.discard(shard)
                done = False
                try:
                    # It is told of wherever else the store is needed.
                    with suppress(StorageError):
                        await self._complete(shard)
                        done = True
                finally:
                    if not done:
                        self.add(shard)
            if self._shards:
                await asyncio.sleep(AGAIN)

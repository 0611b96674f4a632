"""Reads that several ask for at once, done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Sharing(Generic[Key, Found]):
    """At most two reads of each thing: one that is under way, and one for all who came since it began.

    Whoever comes gets none that had begun by then: it may lack what the asker knows of, such as its own vote.
    """

    def __init__(self) -> None:
        self._under_way: dict[Key, asyncio.Task[Found]] = {}
        self._next: dict[Key, asyncio.Task[Found]] = {}

    async def get(self, key: Key, read: Callable[[], Awaitable[Found]]) -> Found:
        """What `read`, or that of somebody else who asked for the same, finds or raises."""
        coming = self._next.get(key)
        if coming is None:
            coming = self._next[key] = asyncio.create_task(self._read(key, read))
            coming.add_done_callback(_noticed)
        # Whoever gives up waiting takes nothing from the others.
        return await asyncio.shield(coming)

    async def _read(self, key: Key, read: Callable[[], Awaitable[Found]]) -> Found:
        before = self._under_way.get(key)
        if before is not None:
            await asyncio.wait([before])
        self._under_way[key] = self._next.pop(key)
        try:
            return await read()
        finally:
            del self._under_way[key]


def _noticed(task: asyncio.Task[Found]) -> None:
    """Nobody may be there any more to hear of an error."""
    if not task.cancelled():
        task.exception()

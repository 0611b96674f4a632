"""A live state that takes no votes while one process puts it together anew."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final, Self

from storage.errors import StoreUnavailable
from storage.live import LiveStore

_AT_A_TIME: Final = 5000


class Hold:
    """What the holder of a shard's live state does with it, from the last vote that it takes to the next.

    Locks are PostgreSQL's, and go with a connection without a word to who is busy with the live store. So the store
    knows its holder by name: once another holds it, each step of this one raises StoreUnavailable and changes nothing.
    """

    def __init__(self, live: LiveStore, shard: int, holder: str) -> None:
        self._live = live
        self._shard = shard
        self._holder = holder

    @classmethod
    async def take(cls, live: LiveStore, shard: int, found: str | None) -> Self:
        """Lets no more votes in. Raises StoreUnavailable where the live state is no longer in the epoch `found`."""
        holder = secrets.token_hex(8)
        if not await live.hold(shard, found, holder):
            raise StoreUnavailable("the live store is in another state than it was found in")
        return cls(live, shard, holder)

    async def clear(self) -> None:
        """Removes the live state, its position first: no vote can be applied to a torn state."""
        await self._step(("clear",))
        names: list[str] = []
        async for name in self._live.keys(self._shard):
            names.append(name)
            if len(names) >= _AT_A_TIME:
                await self._step(("unlink", names))
                names.clear()
        await self._step(("unlink", names))

    async def begin(self, epoch: str, seq: int) -> str:
        """Declares the empty store to be at `seq`, under a new epoch, not yet ready for votes; answers its life."""
        _, run = await self._live.survey(self._shard)
        await self._step(("begin", epoch, seq, run))
        return run

    async def load(self, parts: Sequence[object]) -> None:
        """Puts what the archive knows into the store; `lua/load.lua` has the shapes of the parts."""
        await self._step(*parts)

    async def show(self) -> None:
        """Lets boards be read: all items are there, and only what votes need is missing."""
        await self._step(("show",))

    async def open(self) -> None:
        """Lets votes in."""
        await self._step(("open",))

    async def _step(self, *parts: object) -> None:
        if await self._live.load(self._shard, parts, self._holder) < 0:
            raise StoreUnavailable("another process is putting the live state together by now")

"""Turns at a store, for what clients ask of it: so many at a time, so that what is done for everybody finds room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from channels.errors import PlauditError

WITHIN: Final = 3.0
"""Seconds that somebody waits for a turn: as long as the live store has for an answer."""

_RETRY_MS: Final = 1000


class Turns:
    """`at_once` of them."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn and has it; raises PlauditError `overloaded` where too many were there before."""
        try:
            async with asyncio.timeout(WITHIN):
                await self._free.acquire()
        except TimeoutError:
            raise PlauditError("overloaded", "Too many ask for this at once; come back later", _RETRY_MS) from None
        try:
            yield
        finally:
            self._free.release()

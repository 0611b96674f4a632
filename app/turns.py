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
    """`at_once` of them. Nobody waits for one for over `within` seconds, nor has it for over `lasting`."""

    def __init__(self, at_once: int, *, within: float | None = None, lasting: float | None = None) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._within = within
        self._lasting = lasting

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn and has it.

        Raises PlauditError `overloaded` where too many were there before, and where the body takes too long, which is
        cancelled then.
        """
        try:
            async with asyncio.timeout(WITHIN if self._within is None else self._within):
                await self._free.acquire()
        except TimeoutError:
            raise PlauditError("overloaded", "Too many ask for this at once; come back later", _RETRY_MS) from None
        try:
            async with asyncio.timeout(self._lasting) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise PlauditError("overloaded", "This takes too long now; come back later", _RETRY_MS) from error
        finally:
            self._free.release()

"""Carries the log of a shard to the archive, in order, exactly once.

The flusher of a shard is whoever holds its advisory lock; a second one waits to take over. The lock is
for economy alone: what makes it exactly once is that position and events move in one transaction, so that
a flusher that was frozen, or killed anywhere, can repeat nothing and skip nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from storage.archive import Archive, try_lock
from storage.errors import ArchiveBehind, StaleStore, StorageError
from storage.ledger import Flushed, Ledger, Overtaken
from storage.live import LiveStore, LogEntry
from storage.types import Position

LOCK_PURPOSE: Final = 1
ENTRIES: Final = 64
"""Batches of votes in one transaction at most; at a thousand votes each, some ten megabytes."""

PAUSE: Final = 0.25
"""Seconds between two transactions while the log is short: each costs PostgreSQL an fsync on what may be the disk
that votes wait for, whether it holds one vote or thousands."""

HURRIED: Final = 0.05
"""The same where somebody waits for what is in the log: who asks again and again must not slow the votes of others."""

_WAIT: Final = 1.0
_RETRY: Final = 1.0
_STANDBY: Final = 2.0

log = structlog.get_logger(__name__)


class Flusher:
    """Flushes one shard. `run` ends only when cancelled.

    `leading` is set while this process holds the lock. `on_flush` hears of the entries of every commit.
    """

    def __init__(
        self,
        shard: int,
        live: LiveStore,
        archive: Archive,
        *,
        on_flush: Callable[[Sequence[LogEntry]], None] = lambda entries: None,
    ) -> None:
        self.shard = shard
        self.leading = False
        self._live = live
        self._archive = archive
        self._ledger = Ledger(archive)
        self._on_flush = on_flush
        self._flushed = Flushed("", 0)
        self._said = ""
        self._hurried = asyncio.Event()

    @property
    def seq(self) -> int:
        """The last event that is known to be in the archive."""
        return self._flushed.seq

    def hurry(self) -> None:
        """Shortens a pause, this one or the next: somebody waits for what is in the log."""
        self._hurried.set()

    async def run(self) -> None:
        """Waits for the lock, then flushes for as long as both stores are there; and again."""
        while True:
            try:
                await self._lead()
            except (StorageError, Overtaken) as error:
                self._tell(error)
                await asyncio.sleep(_RETRY)

    def _tell(self, error: Exception) -> None:
        """Says why nothing is flushed, once."""
        if str(error) != self._said:
            self._said = str(error)
            level = logging.ERROR if isinstance(error, ArchiveBehind) else logging.WARNING
            log.log(level, "flusher interrupted", shard=self.shard, error=self._said)

    async def _lead(self) -> None:
        async with self._archive.session() as session:
            while not await try_lock(session, LOCK_PURPOSE, self.shard):
                await asyncio.sleep(_STANDBY)
            self.leading = True
            try:
                await self._resume()
                await self._live.trim(self.shard, self.seq)
                while not session.is_closed():
                    if 0 < await self.flush(_WAIT) < ENTRIES:
                        await self._rest()
            finally:
                self.leading = False

    async def _rest(self) -> None:
        await asyncio.sleep(HURRIED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAUSE - HURRIED):
                await self._hurried.wait()
        self._hurried.clear()

    async def flush(self, wait: float = 0.001) -> int:
        """Commits what the log holds, waiting up to `wait` seconds for something; answers how many entries."""
        entries = await self._live.log_after(self.shard, self.seq, ENTRIES, wait)
        if not entries:
            return 0
        self._check_epoch(await self._live.position(self.shard))
        await self._ledger.append(self.shard, self._flushed, entries)
        self._flushed = self._flushed._replace(seq=entries[-1].seq)
        self._said = ""
        self._on_flush(entries)
        await self._live.trim(self.shard, self.seq)
        return len(entries)

    async def flush_all(self) -> None:
        """Commits until the log is empty, from wherever the archive is."""
        await self._resume()
        while await self.flush():
            pass

    async def _resume(self) -> None:
        found = await self._live.position(self.shard)
        await self._ledger.check(self.shard, found)
        self._flushed = await self._ledger.flushed(self.shard)
        self._check_epoch(found)

    def _check_epoch(self, found: Position) -> None:
        """Raises StaleStore where the log is another live state's than the one that the archive goes on with."""
        if found.epoch != self._flushed.epoch:
            raise StaleStore(f"the archive follows {self._flushed.epoch!r}, the live store is {found.epoch!r}")
